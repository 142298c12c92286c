"""Updates of machines that do not run: what is staged, what is refused, and what another command does meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.disks import MIB, noise, raw_disk
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import needs
from tests.unit.usecases.test_machine_auto import IDS, make

from haulout import Architecture, DiskSource, push
from haulout.cli.main import main
from haulout.errors import ConflictError, NotFoundError, NotReady
from haulout.machine import Machines, Step, read_journal, write_journal
from haulout.machines import machine_rm, machine_rollback, machine_update, machine_update_check
from haulout.progress import NullProgress
from haulout.usecases import machine_rehearsal as rehearsals
from haulout.usecases import machine_staging as staging
from haulout.usecases import machine_update as module
from haulout.usecases.lookup import resolve
from haulout.usecases.machine_init import fetch_image

pytestmark = [pytest.mark.tools, needs("qemu-img")]


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Versions 1 to 4; ``stable`` is 4."""
    folder = tmp_path_factory.mktemp("layout")
    disk = raw_disk(folder / "disk.raw", data_mib=2, size_mib=4)
    for tag in ("1", "2", "3", "4", "stable"):
        if tag.isdigit():
            data = bytearray(disk.read_bytes())
            data[MIB : MIB + 4096] = noise(f"version {tag}", 4096)
            disk.write_bytes(data)
        push(f"oci:{folder}/m:{tag}", [DiskSource(disk, Architecture.here())], level=1)
    return f"oci:{folder}/m"


def meanwhile(monkeypatch, do):
    """Have something done while an update waits."""
    monkeypatch.setattr(module, "_wait", lambda *_args, **_options: do())


def noted(place):
    journal = read_journal(place)
    assert journal is not None
    return journal


def test_a_machine_that_is_being_updated_is_not_removed(home, layout):
    place = make(layout)
    with place.updating(), pytest.raises(ConflictError, match="another command is updating machine web"):
        machine_rm("web", data=True)
    assert machine_rm("web", data=True).removed == (place.file("machine.json"),)
    assert not place.folder.exists()


def test_an_update_that_waited_is_not_one_of_the_next_machine_of_its_name(home, layout, monkeypatch):
    place = make(layout)

    def another():
        machine_rm("web", data=True)
        make(layout)
        place.save(replace(place.load(), id=IDS[1]))

    meanwhile(monkeypatch, another)
    with pytest.raises(ConflictError, match="was changed while its update waited"):
        machine_update("web", when_idle=True)
    assert read_journal(place) is None


def test_a_machine_that_is_removed_is_not_waited_for(home, layout):
    place = make(layout)
    file = place.file("machine.json")
    file.unlink()
    with pytest.raises(NotFoundError):
        module._wait(place, "00:00-23:59", NullProgress(), when_idle=True)


def test_an_update_that_waits_refuses_no_rollback(home, layout, monkeypatch):
    place = make(layout)

    def back():
        with pytest.raises(ConflictError, match="no system to go back to"):
            machine_rollback("web")
        write_journal(place, noted(place).undone("of another", bad=False))

    meanwhile(monkeypatch, back)
    with pytest.raises(ConflictError, match="was changed while its update waited"):
        machine_update("web", when_idle=True)
    assert noted(place).step is Step.UNDONE


def test_data_that_was_kept_is_named_with_all_its_parts(home, layout):
    place = make(layout)
    place.file("data.raw").write_bytes(b"before")
    since = place.data_since(place.load().image)
    since.write_bytes(b"since")
    gone = machine_rm("web")
    assert gone.kept == (place.file("data.raw"), since)
    assert all(each.exists() for each in gone.kept)


def test_what_was_staged_and_never_tried_goes(home, layout):
    place = make(layout)
    for version in "234":
        assert machine_update("web", to=f"{layout}:{version}", stage=True).status == "staged"
    last = resolve(f"{layout}:4").digest
    assert [each.name for each in place.file("slots").glob("*.qcow2")] == [f"{str(last)[7:19]}.qcow2"]
    assert [each.name for each in place.images.iterdir() if not each.suffix] == [str(last).replace(":", "-")]


def test_a_note_of_another_command_while_it_fetches_is_not_lost(home, layout, monkeypatch):
    place = make(layout)
    machine_update("web", to=f"{layout}:2", stage=True)
    write_journal(place, replace(noted(place), data_kept=True))
    fetch = fetch_image

    def fetched(*words):
        write_journal(place, replace(noted(place), data_kept=False))
        return fetch(*words)

    monkeypatch.setattr(staging, "fetch_image", fetched)
    machine_update("web", to=f"{layout}:3", stage=True)
    assert not noted(place).data_kept


@pytest.mark.parametrize(
    "words",
    [
        ("--stage", "--window", "02:00-03:00"),
        ("--stage", "--when-idle"),
        ("--stage", "--rehearse"),
        ("--fixes", "fixes.json"),
        ("--check", "--stage"),
        ("--check", "--when-idle"),
        ("--window", "03:00-03:00"),
        ("--to", ""),
        ("--check", "--to", ""),
    ],
)
def test_words_that_would_be_ignored_are_refused(home, layout, capsys, words):
    place = make(layout)
    assert main(["machine", "update", "web", *words]) == 2
    assert [each.name for each in place.folder.iterdir() if each.name != "update.lock"] == ["machine.json"]


def test_a_machine_follows_the_tag_it_is_updated_to_though_it_runs_its_disk(home, layout):
    place = make(layout, version="4")
    assert machine_update("web", to=f"{layout}:4", dry_run=True).status == "current"
    assert place.load().image.reference == f"{layout}:stable"
    assert machine_update("web", to=f"{layout}:4").status == "current"
    assert place.load().image.reference == f"{layout}:4"


def test_what_the_data_of_before_takes_is_needed(home, layout):
    place = make(layout)
    first = machine_update("web", dry_run=True).needed
    since = place.data_since(place.load().image)
    since.write_bytes(b"\1" * MIB)
    assert machine_update("web", dry_run=True).needed == first + since.stat().st_blocks * 512


def test_of_a_reference_by_digest_it_is_told_that_nothing_newer_comes(home, layout):
    place = make(layout)
    image = place.load().image
    place.save(replace(place.load(), image=replace(image, reference=image.pinned)))
    for look in (machine_update, machine_update_check):
        progress = RecordingProgress()
        assert look("web", progress=progress).status == "current"
        assert progress.notes == [
            "the reference of web is a digest, which never leads to another version; name one: --to REF"
        ]


@pytest.mark.parametrize(
    ("reason", "console", "bad"),
    [
        ("QEMU was killed", ["Booting"], False),
        ("port 2222 is taken", [], False),
        ("the guest does not answer", ["Kernel panic"], True),
    ],
)
def test_an_image_is_blamed_for_what_it_does_in_a_rehearsal_and_not_for_its_host(
    home, layout, monkeypatch, reason, console, bad
):
    def fails(name, **_options):
        raise NotReady(name, reason, console)

    monkeypatch.setattr(rehearsals, "machine_start", fails)
    place = make(layout)
    left = make(layout, "web-rehearsal", 1)
    left.save(replace(left.load(), ephemeral=True))
    machine = place.load()
    assert rehearsals.rehearse_system(Machines.here(), machine, machine.image, NullProgress()) == (reason, bad)
    assert not left.exists()


def test_a_machine_of_the_name_of_a_rehearsal_stays(home, layout):
    place = make(layout)
    other = make(layout, "web-rehearsal", 1)
    machine = place.load()
    with pytest.raises(ConflictError, match="there is a machine web-rehearsal"):
        rehearsals.rehearse_system(Machines.here(), machine, machine.image, NullProgress())
    assert other.exists()
