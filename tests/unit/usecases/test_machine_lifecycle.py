"""What a start fetches first."""

from __future__ import annotations

from tests.unit.machine.test_model import MACHINE
from tests.unit.machine.update.test_journal import JOURNAL, NEW, OLD

from haulout.machine import Machines, Step, write_journal
from haulout.usecases.machine_lifecycle import _coming


def test_a_start_that_tries_an_update_completes_no_base_of_before(tmp_path):
    place = Machines(tmp_path, tmp_path, tmp_path).place("mine")
    place.folder.mkdir(parents=True)
    assert _coming(place, MACHINE).image == OLD
    for step in Step:
        write_journal(place, JOURNAL.turned(step))
        assert _coming(place, MACHINE).image == (NEW if step is Step.DUE else OLD), step
    place.file("update.json").write_text("{")
    assert _coming(place, MACHINE).image == OLD
