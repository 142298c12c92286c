"""An update killed at each step of its journal, by ``make test-update-kills KILLS=200``."""

from __future__ import annotations

import os
import sys
import time

import pytest
from tests.integration.test_machine_update import folder, ok, publish
from tests.support.machines import machines
from tests.support.update_kills import VARIANTS, UpdateKiller

KILLS = int(os.environ.get("HAULOUT_TEST_UPDATE_KILLS", "0"))
SEED = int(os.environ.get("HAULOUT_TEST_SEED", time.time()))
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(600 + 120 * KILLS),
    pytest.mark.skipif(not KILLS, reason="make test-update-kills runs it: half a minute for each kill"),
]


def test_an_update_that_is_killed_leaves_a_whole_machine(tmp_path):
    with machines(tmp_path) as place:
        for name, reference in VARIANTS.items():
            publish(place, name, reference)
        ok(place, "init", "web", VARIANTS["plain"], "--cpus", "1", "--memory", "256", "--disk", "1")
        killer = UpdateKiller(place, folder(place), SEED)
        report = killer.report
        try:
            killer.run(KILLS)
        finally:
            sys.stdout.write(f"\nseed {SEED}: {report}\n")
    assert (report.lost, report.half, report.stuck) == ([], [], []), f"seed {SEED}\n{report}"
