"""The switch, cut short after every write: the machine has the old system with the old data, or the new with the new."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.support.servers import needs
from tests.unit.machine.test_model import MACHINE
from tests.unit.machine.update.test_journal import NEW, OLD, OTHER

from haulout.disk import overlay_size
from haulout.errors import ConflictError, StorageError
from haulout.local import replace_file
from haulout.machine import Machines, Resources, Step, begin_journal, clone_files, disks, remove, remove_unused_bases
from haulout.machine.update import data_disk, switch
from haulout.machine.update.journal import Action, decide

pytestmark = [pytest.mark.tools]
MINE = replace(MACHINE, resources=Resources(1, 64, 1))


class Cut(BaseException):
    """A kill, or a power cut."""


class Killer:
    """Lets so many writes happen, and no more."""

    def __init__(self, monkeypatch):
        self.left = None
        for module, names in (
            (switch, ("replace_file", "prune", "publish")),
            (data_disk, ("create_overlay", "commit_overlay", "sync_folder")),
        ):
            for name in names:
                monkeypatch.setattr(module, name, self._counted(getattr(module, name)))
        monkeypatch.setattr("haulout.machine.store.replace_file", self._counted(replace_file))

    def _counted(self, work):
        def counted(*args, **kwargs):
            if self.left is not None:
                if self.left == 0:
                    raise Cut
                self.left -= 1
            return work(*args, **kwargs)

        return counted


def make(folder):
    place = Machines(folder, folder / "run", folder / "cache").place("web")
    place.folder.mkdir(parents=True)
    place.images.mkdir()
    place.save(MINE)
    data_disk.grow(place, MINE)
    for image in (OLD, NEW, OTHER):
        place.base(replace(MINE, image=image)).write_bytes(b"base")
    place.file("system.qcow2").write_bytes(b"old")
    write(place, OLD, b"old")
    switch.take_over(place)
    return place


def write(place, image, text):
    """Write as the guest does: to what was written since, if it is apart, else to the data disk."""
    since = place.data_since(image)
    if since.exists():
        assert os.system(f"qemu-io -f qcow2 -c 'write -q -P {text[0]} 0 4096' {since}") == 0
    else:
        with place.file("data.raw").open("r+b") as file:
            file.write(text[:1] * 4096)


def seen(place):
    """What the machine would start: its system, and the first byte of its data."""
    image = place.load().image
    since = place.data_since(image)
    if since.exists():
        out = place.folder / "seen"
        assert os.system(f"qemu-img dd -f qcow2 -O raw bs=512 count=1 if={since} of={out}") == 0
        return image.slot, out.read_bytes()[:1]
    with place.file("data.raw").open("rb") as file:
        return image.slot, file.read(1)


def noted(place):
    journal = switch.read_journal(place)
    assert journal is not None
    return journal


def stage(place, image):
    machine = place.load()
    journal = begin_journal(switch.read_journal(place), machine.image, image)
    place.system(image).write_bytes(b"new")
    return switch.write_journal(place, journal.turned(Step.STAGED))


def roll_back(place, *, data=False):
    """Go back as a machine does that is started on trial: its guest wrote nothing."""
    switch.write_journal(place, switch.plan_rollback(place, data=data).turned(Step.STOPPING))
    machine, trial = switch.settle(place, lambda _: None, switching=True)
    assert trial is not None
    switch.commit(place, "", None)
    return machine


def enter(place):
    switch.write_journal(place, noted(place).turned(Step.STOPPING, old_podman="podman 4.3"))
    return switch.settle(place, lambda _: None, switching=True)


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize("cut", range(0, 12, 2))
def test_an_update_that_is_cut_short_ends_in_the_old_or_the_new_system(cut, tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    killer = Killer(monkeypatch)
    killer.left = cut
    with suppress(Cut):
        machine, trial = enter(place)
        assert (machine.image, trial is not None) == (NEW, True)
        left, killer.left = killer.left, None
        write(place, NEW, b"new")
        killer.left = left
        switch.commit(place, "podman 4.3", 1.0)
    killer.left = None
    machine, trial = switch.settle(place, lambda _: None)
    assert trial is None
    assert seen(place) in {(OLD.slot, b"o"), (NEW.slot, b"n")}
    journal = noted(place)
    assert not journal.is_under_way or journal.step is Step.DUE
    assert (journal.step is Step.COMMITTED) == (machine.image == NEW)
    assert {path.name for path in data_disk.parts(place)} <= {place.data_since(machine.image).name}
    assert place.system(machine.image).exists()


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("cut", range(1, 8, 2))
def test_a_rollback_that_is_cut_short_loses_nothing(cut, data, tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    switch.commit(place, "podman 4.3", 1.0)
    killer = Killer(monkeypatch)
    killer.left = cut
    with suppress(Cut):
        roll_back(place, data=data)
    killer.left = None
    switch.settle(place, lambda _: None)
    assert seen(place) in {(NEW.slot, b"n"), (OLD.slot, b"o" if data else b"n")}


@needs("qemu-img", "qemu-io")
def test_what_an_update_wrote_goes_with_it_and_the_image_is_remembered(tmp_path):
    place = make(tmp_path)
    journal = stage(place, NEW)
    machine, _ = enter(place)
    write(place, NEW, b"new")
    switch.undo(place, machine, noted(place), "it\npanicked", bad=True)
    assert seen(place) == (OLD.slot, b"o")
    assert noted(place).bad_reason(journal.new.digest) == "it panicked"
    assert not place.system(NEW).exists()
    assert {path.name for path in remove_unused_bases(Machines(tmp_path, tmp_path, tmp_path))} == {
        place.base(replace(MINE, image=image)).name for image in (NEW, OTHER)
    }


@needs("qemu-img", "qemu-io")
def test_another_migration_of_podmans_data_needs_the_data_to_go_back(tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    switch.commit(place, "podman 5.4", 1.0)
    with pytest.raises(ConflictError, match=r"changed podman's data from podman 4\.3 to podman 5\.4"):
        roll_back(place)
    assert seen(place) == (NEW.slot, b"n")
    roll_back(place, data=True)
    assert seen(place) == (OLD.slot, b"o")


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize("text", ["", "{", '{"schema": 99}'])
def test_a_journal_that_cannot_be_used_is_told_and_the_machine_goes_on(text, tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    switch.commit(place, "", None)
    place.file("update.json").write_text(text)
    said: list[str] = []
    machine, trial = switch.settle(place, said.append)
    assert (machine.image, trial) == (NEW, None)
    assert seen(place) == (NEW.slot, b"n")
    assert "cannot be used, and is left as it is" in said[0]
    assert place.file("update.json").read_text() == text


@needs("qemu-img", "qemu-io")
def test_the_data_disk_is_one_file_again_and_grows_in_both_parts(tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    machine = switch.commit(place, "", None)
    data_disk.grow(place, machine.changed(disk=2))
    assert overlay_size(place.data_since(NEW)) == place.file("data.raw").stat().st_size == 2 << 30
    assert data_disk.unite(place, NEW)
    assert seen(place) == (NEW.slot, b"n")
    assert disks(place, machine).data < 1 << 20
    assert not data_disk.unite(place, NEW)


@needs("qemu-img", "qemu-io")
def test_data_in_two_parts_is_copied_and_kept_and_is_one_file_for_who_reads_it(tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    machine = switch.commit(place, "", None)
    copy = Machines(tmp_path, tmp_path / "run", tmp_path / "cache").place("copy")
    copy.folder.mkdir()
    clone_files(place, copy, machine.image)
    copy.save(replace(machine, name="copy"))
    assert seen(copy) == (NEW.slot, b"n")
    assert [path.name for path in copy.file("slots").iterdir()] == [f"{NEW.slot}.qcow2"]
    switch.rest(place, lambda _: None)
    assert seen(place) == (NEW.slot, b"n")
    assert not list(data_disk.parts(place))
    assert not noted(place).data_kept
    assert [path.name for path in remove(copy, data=False) if "data" in path.name] == []
    data_disk.unite_kept(copy)
    with copy.file("data.raw").open("rb") as file:
        assert file.read(1) == b"n"
    for image in (OLD, NEW):
        data_disk.divide(copy, image)
    with pytest.raises(ConflictError, match="data of two systems"):
        data_disk.unite_kept(copy)


@needs("qemu-img", "qemu-io")
@pytest.mark.parametrize(("before", "after", "refused"), [("", "podman 5.4", True), ("podman 4.3", "", True), ("", "", False)])  # fmt: skip
def test_what_is_not_known_of_podmans_data_needs_the_data_to_go_back(before, after, refused, tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    switch.write_journal(place, replace(noted(place), old_podman=before))
    switch.commit(place, after, 1.0)
    with pytest.raises(ConflictError, match="may have changed podman's data") if refused else nullcontext():
        roll_back(place)
    assert place.load().image == (NEW if refused else OLD)


@needs("qemu-img", "qemu-io")
def test_data_that_was_united_behind_a_journals_back_does_not_go_back(tmp_path):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    switch.commit(place, "podman 5.4", 1.0)
    held = noted(place)
    switch.rest(place, print)
    switch.write_journal(place, held)
    with pytest.raises(ConflictError, match="is not kept any more"):
        roll_back(place, data=True)
    with pytest.raises(ConflictError, match="changed podman's data") as caught:
        roll_back(place)
    assert caught.value.hint is None
    assert seen(place) == (NEW.slot, b"n")


@needs("qemu-img", "qemu-io")
def test_what_fills_the_disk_is_given_up_before_anything_is_written(tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    real = switch.write_journal

    def full(place, journal):
        if place.data_since(NEW).exists():
            raise StorageError("update.json", "no space left on device")
        return real(place, journal)

    monkeypatch.setattr(switch, "write_journal", full)
    switch.settle(place, print)
    assert seen(place) == (OLD.slot, b"o")
    assert (noted(place).step, noted(place).reason) == (Step.UNDONE, switch.KILLED)


@needs("qemu-img", "qemu-io")
def test_what_podmans_data_became_is_known_also_after_a_commit_that_was_cut_short(tmp_path, monkeypatch):
    place = make(tmp_path)
    stage(place, NEW)
    enter(place)
    write(place, NEW, b"new")
    killer = Killer(monkeypatch)
    killer.left = 2
    with pytest.raises(Cut):
        switch.commit(place, "podman 5.4", 1.0)
    killer.left = None
    switch.settle(place, print)
    assert noted(place).step is Step.COMMITTED
    with pytest.raises(ConflictError, match=r"from podman 4\.3 to podman 5\.4"):
        roll_back(place)


def test_random_histories_of_updates_never_mix_systems_and_data(tmp_path_factory, monkeypatch):
    """A model of the machine file, the journal and the data, cut anywhere; overlays are files with one letter."""

    def create(base, kind, target, size=None):
        target.write_bytes(base.read_bytes()[:1])

    def merge(overlay, base, kind, advance):
        base.write_bytes(overlay.read_bytes())

    monkeypatch.setattr(data_disk, "create_overlay", create)
    monkeypatch.setattr(data_disk, "commit_overlay", merge)
    monkeypatch.setattr(data_disk, "grow", lambda *_: None)
    killer = Killer(monkeypatch)

    class Histories(RuleBasedStateMachine):
        @initialize()
        def begin(self):
            folder = tmp_path_factory.mktemp("machine")
            self.place = Machines(folder, folder / "run", folder / "cache").place("web")
            self.place.folder.mkdir(parents=True)
            self.place.save(MINE)
            self.place.file("data.raw").write_bytes(b"0")
            self.place.file("system.qcow2").write_bytes(b"")
            self.place.images.mkdir()
            for image in (OLD, NEW, OTHER):
                self.place.base(replace(MINE, image=image)).write_bytes(b"base")
            switch.take_over(self.place)
            self.wrote = 0
            self.allowed = {(OLD.slot, b"0")}

        def now(self):
            image = self.place.load().image
            since = self.place.data_since(image)
            return image.slot, (since if since.exists() else self.place.file("data.raw")).read_bytes()

        def guest(self, image):
            self.wrote = (self.wrote + 1) % 200
            since = self.place.data_since(image)
            text = bytes([self.wrote])
            (since if since.exists() else self.place.file("data.raw")).write_bytes(text)
            return text

        @rule()
        def life(self):
            machine, _ = switch.settle(self.place, lambda _: None)
            assert self.now() in self.allowed
            self.allowed = {(machine.image.slot, self.guest(machine.image))}

        @rule(image=st.sampled_from([OLD, NEW, OTHER]), cut=st.integers(0, 12) | st.none(), good=st.booleans())
        def update(self, image, cut, good):
            switch.settle(self.place, lambda _: None)
            before = self.now()
            if image == self.place.load().image:
                return
            self.allowed = {before}
            killer.left = cut
            with suppress(Cut):
                stage(self.place, image)
                enter(self.place)
                left, killer.left = killer.left, None
                after = (image.slot, self.guest(image))
                killer.left = left
                if good:
                    self.allowed = {before, after}
                    switch.commit(self.place, "podman 4.3", None)
                    self.allowed = {after}
                else:
                    switch.undo(self.place, self.place.load(), noted(self.place), "no", bad=True)
            killer.left = None

        @rule(cut=st.integers(0, 12) | st.none(), data=st.booleans(), good=st.booleans())
        def back(self, cut, data, good):
            switch.settle(self.place, lambda _: None)
            before = self.now()
            old = self.place.file("data.raw").read_bytes()
            journal = switch.read_journal(self.place)
            self.allowed = {before}
            killer.left = cut
            with suppress(Cut, ConflictError):
                back = switch.check_way_back(self.place, journal, data=data)
                plan = switch.plan_rollback(self.place, data=data)
                switch.write_journal(self.place, plan.turned(Step.STOPPING))
                switch.settle(self.place, lambda _: None, switching=True)
                since = self.place.data_since(back)
                assert since.read_bytes() == (old if data else before[1])
                left, killer.left = killer.left, None
                after = (back.slot, self.guest(back))
                killer.left = left
                if good:
                    self.allowed = {before, after}
                    switch.commit(self.place, "podman 4.3", None)
                    self.allowed = {after}
                else:
                    switch.undo(self.place, self.place.load(), noted(self.place), "no", bad=False)
            killer.left = None

        @precondition(lambda self: hasattr(self, "place"))
        @rule()
        def nothing_is_left_undecided(self):
            switch.settle(self.place, lambda _: None)
            machine, journal = self.place.load(), switch.read_journal(self.place)
            assert self.now() in self.allowed
            assert decide(journal, machine.image.digest, running=False) is Action.NOTHING
            assert self.place.system(machine.image).exists()

    run_state_machine_as_test(
        Histories, settings=settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    )
