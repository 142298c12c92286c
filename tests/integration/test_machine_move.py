"""Machines moved: export, import, and what goes wrong on the way, with a real registry and without booting."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.disks import MIB, noise, raw_disk
from tests.support.machines import machines as sandboxed
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import docker_registry, needs

import haulout
from haulout import machines
from haulout.content import LayoutStore
from haulout.errors import (
    ConflictError,
    ContentError,
    DeniedError,
    NotFoundError,
    StorageError,
    UsageError,
    WrongPassphrase,
)
from haulout.machine import Export, Machines
from haulout.machine.moving import sealing
from haulout.oci import Descriptor, Digest
from haulout.places import Places
from haulout.usecases.arguments import reference_of

SOURCE = Path(__file__).parents[2] / "src"
SECRET = b"correct horse"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    """tests/unit/machine/test_sealing.py pays what a passphrase costs."""
    monkeypatch.setattr(sealing, "_COST", 1 << 10)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A machine with a data disk of 10 GiB that holds 3 MiB and two small places, in an empty home."""
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    haulout.push("oci:machines:5.0", raw_disk(tmp_path / "disk.raw"), architecture="x86_64", disk_type="applehv")
    machines.machine_init("web", "oci:machines:5.0", cpus=3, disk=10)
    path = data("web")
    with path.open("wb") as file:
        file.truncate(10 << 30)
    put(path, 5 * MIB + 4096, noise("data", 3 * MIB))
    put(path, (6 << 30) + 12345, b"far")
    put(path, (10 << 30) - 3, b"end")
    return path


def data(name):
    return Machines.here().place(name).file("data.raw")


def put(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def extents(path):
    """The bytes of a sparse file that are not zero, by their place: far faster than hashing holes."""
    found, position = {}, 0
    with path.open("rb") as file:
        while True:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            for at in range(position - position % MIB, os.lseek(file.fileno(), position, os.SEEK_HOLE), MIB):
                content = os.pread(file.fileno(), MIB, at)
                if content.strip(b"\0"):
                    found[at] = hashlib.sha256(content).hexdigest()
                position = at + MIB
    return path.stat().st_size, found


def test_what_is_exported_removed_and_imported_is_the_same(web):
    before, machine = extents(web), Machines.here().place("web").load()
    done = machines.machine_export("web", "oci:backup:web")
    assert (done.chunks, done.sent_chunks, done.data_size, done.encrypted) == (6, 6, 10 << 30, False)
    assert done.sent_bytes < 3.1 * MIB
    machines.machine_rm("web", data=True)
    shutil.rmtree("machines")
    made = machines.machine_import("oci:backup:web")
    assert extents(web) == before
    assert web.stat().st_blocks * 512 < 4 * MIB
    assert web.stat().st_mode & 0o777 == 0o600
    assert (made.machine.resources, made.machine.id) == (machine.resources, machine.id)
    assert made.machine.image.digest == machine.image.digest
    assert machines.machine_inspect("web").state == "stopped"
    assert machines.machine_import("oci:backup:web", "copy").machine.id != machine.id


def test_a_second_export_sends_what_changed(web):
    first = machines.machine_export("web", "oci:backup:web")
    assert machines.machine_export("web", "oci:backup:web").sent_chunks == 0
    put(web, 7 * MIB, noise("change", 4096))
    second = machines.machine_export("web", "oci:backup:web")
    assert (second.chunks, second.sent_chunks) == (6, 1)
    assert second.sent_bytes < 1.1 * MIB < first.sent_bytes
    want = extents(web)
    machines.machine_import("oci:backup:web", "copy")
    assert extents(data("copy")) == want
    # The first is still there, by digest.
    machines.machine_import(first.pinned, "older")
    assert extents(data("older")) != want


@pytest.mark.parametrize("passphrase", [None, SECRET], ids=["plain", "encrypted"])
def test_an_export_over_a_damaged_one_is_whole(web, passphrase):
    machines.machine_export("web", "oci:backup:web", passphrase=passphrase)
    with LayoutStore("backup") as store:
        first, *_, last = parsed(store, parsed(store, "web").manifests[1].digest).layers
    (Path("backup/blobs/sha256") / first.digest.hex).unlink()
    os.truncate(Path("backup/blobs/sha256") / last.digest.hex, 3)
    assert machines.machine_export("web", "oci:backup:web", passphrase=passphrase).sent_chunks == 2
    machines.machine_import("oci:backup:web", "copy", passphrase=passphrase)
    assert extents(data("copy")) == extents(web)


@needs("docker-registry")
@pytest.mark.parametrize("passphrase", [None, SECRET], ids=["plain", "encrypted"])
@pytest.mark.parametrize(("what", "sent"), [("chunk", 1), ("segment", 0), ("head", 0)])
def test_what_a_registry_lost_is_sent_again(web, tmp_path, passphrase, what, sent):
    with docker_registry(tmp_path) as server:
        target = f"{server.url.partition('//')[2]}/backup:web"
        machines.machine_export("web", target, passphrase=passphrase)
        with Places() as places:
            store = places.open(reference_of(target))
            export = Export.read(store, places.root(reference_of(target)), target)
            segment = next(export.segments())
            lost = {
                "chunk": export.chunks(store, segment)[0].digest,
                "segment": segment,
                "head": export.head.layers[0].digest,
            }[what]
        for path in list(tmp_path.rglob(f"*{lost.hex}*")):
            shutil.rmtree(path)
        assert machines.machine_export("web", target, passphrase=passphrase).sent_chunks == sent
        machines.machine_import(target, "copy", passphrase=passphrase)
        assert extents(data("copy")) == extents(web)


@needs("docker-registry")
@pytest.mark.parametrize("passphrase", [None, SECRET], ids=["plain", "encrypted"])
def test_a_registry_holds_exports_without_the_machine_s_layout(web, tmp_path, passphrase):
    want = extents(web)
    with docker_registry(tmp_path) as server:
        target = f"{server.url.partition('//')[2]}/backup:web"
        first = machines.machine_export("web", target, passphrase=passphrase)
        assert (first.sent_chunks, first.with_image) == (6, True), "a layout's disk comes along"
        puts = server.count("PUT")
        put(web, 9 * MIB, b"little")
        second = machines.machine_export("web", target, passphrase=passphrase)
        assert second.sent_chunks == 1
        # The chunk, the three segments, the head and its manifest, the disk's manifest, and the index.
        assert server.count("PUT") - puts <= 8
        assert second.traffic.sent < 1.2 * MIB
        put(web, 9 * MIB, bytes(6))
        shutil.rmtree("machines")
        machines.machine_rm("web", data=True)
        made = machines.machine_import(second.pinned, passphrase=passphrase)
        put(web, 9 * MIB, noise("data", 3 * MIB)[4 * MIB - 4096 :][:6])
        assert made.machine.image.pinned.startswith(target.partition(":web")[0])
    assert extents(web)[0] == want[0]


def test_an_archive_is_a_file_to_carry(web):
    want = extents(web)
    machines.machine_export("web", "oci-archive:web.tar", passphrase=SECRET)
    put(web, 0, b"more")
    machines.machine_export("web", "oci-archive:web.tar", passphrase=SECRET)
    put(web, 0, bytes(4))
    shutil.rmtree("machines")
    machines.machine_rm("web", data=True)
    machines.machine_import("oci-archive:web.tar", passphrase=SECRET)
    put(web, 0, bytes(4))
    assert extents(web) == want


def test_a_copied_export_is_an_export(web):
    want = extents(web)
    machines.machine_export("web", "oci:backup:web")
    haulout.copy("oci:backup:web", "oci:other:web")
    shutil.rmtree("machines")
    shutil.rmtree("backup")
    machines.machine_import("oci:other:web", "copy")
    assert extents(data("copy")) == want


def test_an_encrypted_export_shows_nothing_and_opens_with_its_passphrase_alone(web):
    put(web, 0, b"a secret of mine " * 1000)
    machines.machine_export("web", "oci:backup:web", passphrase=SECRET)
    with_image = b"".join(each.read_bytes() for each in Path("backup").rglob("*") if each.is_file())
    assert b"machine.sealing" in with_image
    for word in (b"a secret of mine", b'"cpus"', b"oci:machines"):
        assert word not in with_image
    with pytest.raises(WrongPassphrase):
        machines.machine_import("oci:backup:web", "copy", passphrase=b"wrong")
    with pytest.raises(DeniedError, match="is encrypted"):
        machines.machine_import("oci:backup:web", "copy")
    with pytest.raises(WrongPassphrase):
        machines.machine_export("web", "oci:backup:web", passphrase=b"another")
    with pytest.raises(DeniedError, match="is encrypted"):
        machines.machine_export("web", "oci:backup:web")
    machines.machine_export("web", "oci:plain:web")
    with pytest.raises(DeniedError, match="not encrypted"):
        machines.machine_import("oci:plain:web", "copy", passphrase=SECRET)
    with pytest.raises(ConflictError, match="not encrypted"):
        machines.machine_export("web", "oci:plain:web", passphrase=SECRET)
    assert not data("copy").exists()


def parsed(store, selector) -> Any:
    return store.manifest(selector).parse("an export")


def rewritten(change, *, segment):
    """Change the manifest of the segment, or of the head, as somebody can who may write to the registry."""
    with LayoutStore("backup", create=True) as store:
        index = parsed(store, "web")
        entries = list(index.manifests)
        number = 1 if segment else 0
        manifest = change(store, parsed(store, entries[number].digest))
        stored = store.push_manifest(manifest.to_bytes(), manifest.media_type)
        entries[number] = dataclasses.replace(entries[number], digest=stored.digest, size=stored.size)
        changed = dataclasses.replace(index, manifests=tuple(entries))
        store.push_manifest(changed.to_bytes(), changed.media_type, "web")


def test_an_encrypted_export_takes_no_change_by_others(web):
    machines.machine_export("web", "oci:backup:web", passphrase=SECRET)
    older = Path("backup/index.json").read_bytes()

    def swapped(_, manifest):
        one, two, *rest = manifest.layers
        notes = [one.annotations, two.annotations]
        return dataclasses.replace(
            manifest,
            layers=(
                dataclasses.replace(two, annotations=notes[0]),
                dataclasses.replace(one, annotations=notes[1]),
                *rest,
            ),
        )

    # The head names its segments by digest: theirs is not read at all, or is not what the head says.
    rewritten(swapped, segment=True)
    machines.machine_import("oci:backup:web", "copy", passphrase=SECRET)
    assert extents(data("copy")) == extents(web)
    Path("backup/index.json").write_bytes(older)

    def foreign(store, manifest):
        content = b"x" * manifest.layers[0].size
        blob = Descriptor(manifest.layers[0].media_type, Digest.of(content), len(content))
        store.push_blob(blob, lambda: io.BytesIO(content))
        return dataclasses.replace(manifest, layers=(blob,))

    rewritten(foreign, segment=False)
    with pytest.raises(ContentError, match="was changed"):
        machines.machine_import("oci:backup:web", "other", passphrase=SECRET)
    Path("backup/index.json").write_bytes(older)

    def disguised(_, manifest):
        notes = dict.fromkeys(manifest.annotations, "rot13")
        return dataclasses.replace(manifest, annotations=notes)

    rewritten(disguised, segment=False)
    with pytest.raises(ContentError, match="not known"):
        machines.machine_import("oci:backup:web", "other", passphrase=SECRET)
    assert not data("other").exists()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.unlink(), NotFoundError),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), ContentError),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), ContentError),
    ],
    ids=["missing", "truncated", "changed"],
)
def test_a_damaged_chunk_makes_no_machine(web, damage, what):
    machines.machine_export("web", "oci:backup:web")
    with LayoutStore("backup") as store:
        index = parsed(store, "web")
        layers = parsed(store, index.manifests[1].digest).layers
    damage(Path("backup/blobs/sha256") / layers[-1].digest.hex)
    with pytest.raises(what):
        machines.machine_import("oci:backup:web", "copy")
    assert not data("copy").exists()
    assert [each.name for each in machines.machine_list()] == ["web"]
    assert not data("copy").parent.exists(), "nothing is left of it"


def test_what_is_refused_is_refused_before_anything_is_written(web, monkeypatch):
    with pytest.raises(UsageError, match="a digest names"):
        machines.machine_export("web", f"oci:backup@sha256:{'0' * 64}")
    with pytest.raises(UsageError, match="not an export"):
        machines.machine_export("web", "oci:machines:5.0")
    with pytest.raises(NotFoundError):
        machines.machine_export("nobody", "oci:backup:web")
    place = Machines.here().place("web")
    lock = place.take("vm.lock")
    with pytest.raises(ConflictError, match="is unattended"):
        machines.machine_export("web", "oci:backup:web")
    os.close(lock)
    assert not Path("backup").exists()
    machines.machine_export("web", "oci:backup:web")
    with pytest.raises(ConflictError, match="there is a machine web"):
        machines.machine_import("oci:backup:web")
    machines.machine_rm("web")
    with pytest.raises(ConflictError, match="data that was kept"):
        machines.machine_import("oci:backup:web")
    with pytest.raises(UsageError, match="not an export"):
        machines.machine_import("oci:machines:5.0")
    machines.machine_init("db", "oci:machines:5.0")
    with pytest.raises(ConflictError, match="another machine, web"):
        machines.machine_export("db", "oci:backup:web")
    full = os.statvfs("/")
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((full[0], full[1], full[2], 9, 9, *full[5:])))
    with pytest.raises(StorageError, match="bytes are needed"):
        machines.machine_import("oci:backup:web", "copy")


def test_a_machine_that_never_ran_has_no_data(web):
    web.unlink()
    done = machines.machine_export("web", "oci:backup:web")
    assert (done.data_size, done.chunks) == (0, 0)
    machines.machine_import("oci:backup:web", "copy")
    assert not data("copy").exists()


def test_what_the_other_host_had_is_left_out_with_a_word(web, tmp_path):
    (tmp_path / "src").mkdir()
    mounts = [machines.Mount.parse(f"{tmp_path}/{name}:/{name}") for name in ("src", "gone")]
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "gone").mkdir()
    machines.machine_set("web", mounts=mounts, ca=str(tmp_path / "ca.pem"))
    machines.machine_export("web", "oci:backup:web")
    (tmp_path / "gone").rmdir()
    (tmp_path / "ca.pem").unlink()
    progress = RecordingProgress()
    made = machines.machine_import("oci:backup:web", "copy", progress=progress)
    assert [each.target for each in made.machine.mounts] == ["/src"]
    assert made.machine.ca == ()
    assert f"{tmp_path}/src of this host can be changed by machine copy" in progress.notes
    assert sum("is not here" in note for note in progress.notes) == 2


VICTIM = """
import importlib, os, sys
sys.path.insert(0, sys.argv[1])
_, _, module, name, number, verb, *arguments = sys.argv
holder, left = importlib.import_module(module), int(number)
*outer, name = name.split(".")
for each in outer:
    holder = getattr(holder, each)
real = getattr(holder, name)

def dies(*given, **named):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
    return real(*given, **named)

setattr(holder, name, dies)
from haulout import machines
getattr(machines, verb)(*arguments)
"""


def killed(module, name, number, *verb):
    """Run a verb in another process that is killed at a call of a function; whether it came there."""
    argv = [sys.executable, "-c", VICTIM, str(SOURCE), module, name, str(number), *verb]
    return subprocess.run(argv, check=False, stderr=subprocess.DEVNULL, timeout=60).returncode == -9


@pytest.mark.parametrize(
    ("name", "number"),
    [("LayoutStore.push_blob", 3), ("LayoutStore.push_manifest", 3), ("write_index", 1)],
)
def test_a_killed_export_leaves_the_last_one(web, name, number):
    machines.machine_export("web", "oci:backup:web")
    want = extents(web)
    put(web, 8 * MIB, noise("new", 2 * MIB))
    assert killed("haulout.content.layout", name, number, "machine_export", "web", "oci:backup:web")
    machines.machine_import("oci:backup:web", "copy")
    assert extents(data("copy")) == want
    machines.machine_export("web", "oci:backup:web")
    machines.machine_import("oci:backup:web", "newer")
    assert extents(data("newer")) == extents(web)


def test_what_fails_to_become_a_machine_leaves_nothing(web, tmp_path):
    copy = data("copy").parent
    missing = machines.Mount(str(tmp_path / "gone"), "/a")
    twice = [machines.Forward(8080, 80), machines.Forward(8080, 81)]
    for refused in (
        lambda: machines.machine_init("copy", "oci:machines:6.0"),
        lambda: machines.machine_init("copy", "oci:machines:5.0", mounts=[missing]),
        lambda: machines.machine_init("copy", "oci:machines:5.0", forwards=twice),
        lambda: machines.machine_import("oci:machines:5.0", "copy"),
        lambda: machines.machine_set("web", mounts=[missing]),
        lambda: machines.machine_set("web", forwards=twice),
    ):
        with pytest.raises(haulout.HauloutError):
            refused()
        assert not copy.exists()
    assert Machines.here().place("web").load().forwards == ()
    copy.mkdir()
    data("copy").write_bytes(b"kept")
    with pytest.raises(NotFoundError):
        machines.machine_init("copy", "oci:machines:6.0")
    assert data("copy").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["make_key", "check_base", "publish"])
def test_a_name_whose_init_was_killed_is_free(web, name):
    assert killed("haulout.usecases.machine_init", name, 1, "machine_init", "copy", "oci:machines:5.0")
    made = [each.name for each in machines.machine_list()]
    assert made == (["copy", "web"] if name == "publish" else ["web"])
    if name != "publish":
        machines.machine_init("copy", "oci:machines:5.0")


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        ("haulout.usecases.pull", "pull", 1),
        ("haulout.machine.moving.exports", "write_sparse", 3),
        ("haulout.machine.files", "replace_file", 1),
        ("haulout.usecases.machine_import", "make_key", 1),
        ("haulout.usecases.machine_import", "sync_folder", 1),
        ("haulout.machine.files", "storage_errors", 3),
    ],
)
def test_a_killed_import_leaves_no_machine_that_is_half(web, module, name, number):
    machines.machine_export("web", "oci:backup:web")
    assert killed(module, name, number, "machine_import", "oci:backup:web", "copy")
    assert [each.name for each in machines.machine_list()] == ["web"]
    machines.machine_import("oci:backup:web", "second")
    left = [path for path in data("copy").parent.glob("*") if path.is_dir()] if data("copy").parent.exists() else []
    assert not left, "what the killed one fetched takes no room"
    assert extents(data("second")) == extents(web)
    machines.machine_import("oci:backup:web", "copy")
    assert extents(data("copy")) == extents(web), "what was left there is no data that was kept"


def folder(place, name):
    return Path(place.environment["XDG_DATA_HOME"], "haulout/machines", name)


def check_counted(place, early, late):
    """A data disk is as after a power cut in one moment: whole, and the beginning of what came later."""

    def read(name, file):
        data = folder(place, name) / "data.raw"
        # The journal first, as at any boot.
        assert subprocess.run(["e2fsck", "-p", data], capture_output=True, check=False).returncode in {0, 1}
        done = subprocess.run(["debugfs", "-R", f"cat /{file}", data], capture_output=True, text=True, check=True)
        # What was added to a block a moment ago may be zeros (ext4, data=ordered).
        return done.stdout.rstrip("\0").splitlines()

    assert read(early, "note") == ["mine"]
    *counted, _ = read(early, "count")
    assert 0 < len(counted) < len(read(late, "count"))
    assert counted == [str(number) for number in range(1, len(counted) + 1)]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_that_ran_is_moved_with_what_it_wrote(tmp_path):
    with sandboxed(tmp_path) as place:

        def machine(*words):
            done = place.haulout("machine", *words)
            assert done.code == 0, f"{words}: {done.out}{done.err}"
            return done.out

        machine("init", "web", "oci:machines:5.0", "--cpus", "1", "--memory", "256", "--disk", "1")
        machine("start", "web")
        count = "echo mine >note; n=0; while echo $((n += 1)) >>count; do :; done"
        machine("ssh", "web", "--user", "root", "--", "sh", "-c", f"cd /var/lib/data; ({count}) >/dev/null 2>&1 &")
        # It goes on writing meanwhile, and is not stopped.
        machine("export", "web", "oci:backup:running")
        assert {each.name for each in folder(place, "web").iterdir() if each.is_dir()} <= {"seed", "slots"}
        machine("stop", "web")
        machine("export", "web", "oci:backup:web")
        machine("import", "oci:backup:running", "early")
        check_counted(place, "early", "web")
        machine("rm", "web", "--data")
        machine("import", "oci:backup:web", "moved")
        machine("start", "moved")
        assert machine("ssh", "moved", "--user", "root", "--", "cat", "/var/lib/data/note") == "mine\n"
