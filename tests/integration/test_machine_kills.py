"""The host side of a machine killed at random moments: ten times here, 200 times by ``make test-kills``."""

from __future__ import annotations

import os
import sys
import time

import pytest
from tests.support.machine_kills import Killer
from tests.support.machines import machines

KILLS = int(os.environ.get("HAULOUT_TEST_KILLS", "10"))
SEED = int(os.environ.get("HAULOUT_TEST_SEED", time.time()))
pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(120 + 30 * KILLS)]


@pytest.mark.long
def test_nothing_is_lost_and_nobody_is_needed(tmp_path):
    with machines(tmp_path) as place:
        killer = Killer(place, SEED)
        report = killer.report
        try:
            killer.run(KILLS)
        finally:
            sys.stdout.write(f"\nseed {SEED}: {report}\n")
    assert (report.lost, report.stuck) == ([], []), f"seed {SEED}\n{report}"
