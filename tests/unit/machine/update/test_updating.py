"""An update as the supervisor carries it out: what is noted, refused, kept and brought back, without a guest."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.support.servers import needs
from tests.unit.machine.update.test_gate import INFO, LIST, FakeLink, podman, response
from tests.unit.machine.update.test_journal import NEW, OLD
from tests.unit.machine.update.test_switch import MINE, enter, make, noted, seen, stage, write

from haulout.errors import StorageError
from haulout.machine import Step
from haulout.machine.guest.link import GuestFailed, Link
from haulout.machine.update import api, data_disk, gate, switch, updating
from haulout.machine.update.journal import Container, Switch
from haulout.machine.update.updating import Updater
from haulout.machine.update_settings import Update

pytestmark = [pytest.mark.tools]
DB = Container("0a", "db")
PODMAN = {
    "/_ping": response("OK"),
    LIST: response([{"Id": "0a", "Names": ["db"]}, {"Id": "0d", "Names": ["job"], "AutoRemove": True}]),
    INFO: response({}),
}


def begin(place, what, answers=PODMAN, machine=MINE, *, linked=True):
    """Ask for a switch of a guest whose podman answers so; return whether it begins, what was told, and who does it."""
    told: list[str] = []

    async def tell(line):
        told.append(line["failed"])

    async def run():
        place.runtime.mkdir(parents=True, exist_ok=True)
        link = FakeLink(place.runtime)
        link.sockets = {"podman"}
        updater = Updater(place, told.append)
        async with podman(link.inner("podman"), answers):
            return await updater.begin(what, link if linked else None, None, machine, tell), told, updater

    return asyncio.run(run())


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize("step", [Step.TRYING, Step.COMMITTED])
def test_a_system_that_the_machine_file_names_is_kept_whatever_could_not_be_written(step, tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    _, trial = enter(place)
    write(place, NEW, b"new")
    updater = updating.Updater(place, print)
    updater.trial = trial
    real = switch.write_journal

    def failing(place, journal):
        if step is Step.COMMITTED:
            real(place, journal)
        if journal.step is Step.COMMITTED:
            raise StorageError("update.json", "no space left on device")
        return real(place, journal)

    monkeypatch.setattr(switch, "write_journal", failing)
    with pytest.raises(StorageError):
        switch.commit(place, "podman 5.4", 1.0)
    asyncio.run(updater.undo("no space left on device", failed=True))
    monkeypatch.undo()
    switch.settle(place, print)
    assert seen(place) == (NEW.slot, b"n")
    assert (noted(place).step, noted(place).new_podman) == (Step.COMMITTED, "podman 5.4")
    assert place.system(NEW).exists()


@needs("qemu-img", "qemu-io")
def test_who_stops_a_machine_while_its_system_is_being_kept_waits_for_that(tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    machine, trial = enter(place)
    write(place, NEW, b"new")

    async def proof(*_):
        return gate.Proof(mounts=len(MINE.mounts), podman="podman 4.3")

    monkeypatch.setattr(gate, "prove", proof)
    updater = updating.Updater(place, print)
    updater.trial = trial

    async def stopped():
        with place.lock():
            proving = asyncio.create_task(updater.prove(Link.__new__(Link), machine, 30))
            await asyncio.sleep(0.3)
            proving.cancel()
            await asyncio.sleep(0.1)
        with suppress(asyncio.CancelledError):
            await proving
        if updater.trial is not None:
            await updater.undo("stopped", failed=False)

    asyncio.run(stopped())
    assert seen(place) == (NEW.slot, b"n")
    assert (noted(place).step, place.system(NEW).exists()) == (Step.COMMITTED, True)


@needs("qemu-img", "qemu-io")
def test_what_podman_removes_is_told_and_not_waited_for(tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    begins, told, _ = begin(place, Switch.UPDATE)
    assert begins
    assert "not waited for, as podman removes them when they stop: job" in told
    assert (noted(place).step, noted(place).running) == (Step.STOPPING, {"podman": (DB,)})


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize(
    ("answers", "hooks", "says"),
    [({}, (), "cannot be found out: podman"), (PODMAN, ("/nonexistent/hook",), "no programs that can be run: /nonex")],
)
def test_an_update_that_could_not_be_proved_does_not_begin(answers, hooks, says, tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    begins, told, _ = begin(place, Switch.UPDATE, answers, replace(MINE, update=Update(hooks=hooks)))
    assert not begins
    assert says in told[-1]
    assert noted(place).step is Step.STAGED


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize("linked", [False, True])
def test_a_guest_that_hangs_is_left_nevertheless(linked, tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    switch.commit(place, "podman 4.3", 1.0)

    async def hanging(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(api, "containers", hanging)
    monkeypatch.setattr(updating, "_GLANCE_SECONDS", 0.1)
    begins, told, updater = begin(place, Switch.ROLLBACK, linked=linked)
    assert (begins, told, updater.hangs) == (True, ["noting what runs"], linked)
    assert asyncio.run(updater.system()).image == OLD
    asked = []

    async def bring_back(_, running, *, interrupted):
        asked.append((running, interrupted))

    monkeypatch.setattr(gate, "bring_back", bring_back)
    asyncio.run(updater.restore(FakeLink(tmp_path)))
    assert asked == [({}, True)]


@needs("qemu-img", "qemu-io")
def test_a_machine_goes_on_where_it_cannot_go_back(tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    switch.commit(place, "podman 4.3", 1.0)
    begins, told, updater = begin(place, Switch.ROLLBACK)
    assert begins

    def full(*_):
        raise StorageError("data.raw", "no space left on device")

    monkeypatch.setattr(data_disk, "commit_overlay", full)
    with pytest.raises(StorageError, match="no space left on device"):
        asyncio.run(updater.system())
    asyncio.run(updater.undo("data.raw: no space left on device", failed=True))
    assert told[-1] == "going back to the system before: data.raw: no space left on device"
    assert asyncio.run(updater.system()).image == NEW
    assert seen(place) == (NEW.slot, b"n")
    assert noted(place).way_back == (OLD, "podman 4.3", "podman 4.3")


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize("tried", ["", "tried", "undone"])
@pytest.mark.parametrize("adopted", [False, True])
def test_what_ran_before_a_supervisor_that_was_killed_is_started_again_once(adopted, tried, tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    assert begin(place, Switch.UPDATE)[0]
    if tried:
        switch.settle(place, print, switching=True)
    if tried == "undone":
        switch.end_trial(place, noted(place), "it panicked", bad=True)
    asked = []

    async def bring_back(_, running, *, interrupted):
        asked.append((running, interrupted))

    monkeypatch.setattr(gate, "bring_back", bring_back)
    for _ in range(2):
        updater = Updater(place, print)
        if adopted:
            assert updater.adopt(place.load()) is (tried == "tried" and not asked)
        assert asyncio.run(updater.system()).image == OLD
        asyncio.run(updater.restore(FakeLink(tmp_path)))
    assert asked == [({"podman": (DB,)}, False)]


@needs("qemu-img", "qemu-io")
def test_who_takes_too_long_to_prove_is_named(tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    updater = Updater(place, print)
    machine, updater.trial = enter(place)

    async def hanging(link, machine, place, before, say):
        say("asking /bin/check")
        await asyncio.Event().wait()

    monkeypatch.setattr(gate, "prove", hanging)
    with pytest.raises(GuestFailed, match="within 60 seconds: still asking /bin/check"):
        asyncio.run(updater.prove(FakeLink(tmp_path), machine, 0))
