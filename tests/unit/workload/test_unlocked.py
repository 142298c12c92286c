"""Disks that are opened: listed, written plain, files taken out of them, and given another passphrase or key."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.ext4_trees import tree_of
from tests.support.rootfs import Builder
from tests.support.workloads import (
    PASSPHRASE,
    QUICK,
    body,
    build,
    config,
    image,
    parts,
    rewritten,
    root_folder,
    rules,
    stored,
)

from haulout import rootfs
from haulout.content import MemoryStore
from haulout.errors import ContentError, InvalidWorkload, NotFoundError, StorageError, UsageError, WrongPassphrase
from haulout.oci import Descriptor, Digest, json
from haulout.progress import NullProgress
from haulout.workload import binding as bindings
from haulout.workload import ext4, extraction, krun, luks, outer, unlocked
from haulout.workload.rekey import Rekey, rekey_disk, rekey_image
from haulout.workload.source import Root

QUIET = NullProgress()
NEW = b"another passphrase"


def opened(subject, passphrase=PASSPHRASE):
    return unlocked.unlock(subject, passphrase, QUIET)


def extracted(subject, target, paths=(), *, owners=False):
    with opened(subject) as content:
        return extraction.extract(content, target, paths, owners=owners, progress=QUIET)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = MemoryStore()
    build(made, root_folder(tmp_path_factory.mktemp("it") / "root"))
    return made


def plain_disk(system: bytes, document: bytes | None = None) -> bytes:
    """A disk such as mkcw makes, without hashes, around any file system."""
    volume = luks.create(PASSPHRASE, iterations=1000)
    inside = document or config().to_bytes()
    encrypted = volume.header + volume.encrypt(0, system)
    return encrypted + bytes(krun.padding(len(encrypted), inside)) + krun.footer(inside)


def test_the_files_of_a_disk_are_listed(store):
    with opened(stored(store)) as content:
        found = {one.name: one for one in content.files()}
        assert content.verified
    assert found["etc/motd"].kind == "file"
    assert found["etc/motd"].size == 18
    assert found["link"].points == "etc/motd"
    assert found[""].kind == "directory"
    assert found["data"].to_dict() == {
        "path": "data",
        "kind": "file",
        "mode": f"{stat.S_IMODE(found['data'].mode):04o}",
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "size": 300_000,
        "mtime": found["data"].seconds,
        "target": None,
    }


def test_the_plain_disk_is_written_whole_and_for_its_owner_alone(store, tmp_path):
    target = tmp_path / "plain"
    with opened(stored(store)) as content:
        size = unlocked.write_disk(content, target, QUIET)
        content.plain.seek(0)
        assert target.read_bytes() == content.plain.read(size)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_blocks * 512 < size / 2


def test_files_come_out_as_they_are_inside(store, tmp_path):
    done = extracted(stored(store), tmp_path / "out")
    assert (tmp_path / "out/etc/motd").read_text() == "hello from inside\n"
    assert (tmp_path / "out/link").readlink() == Path("etc/motd")
    assert (tmp_path / "out/data").stat().st_size == 300_000
    assert done.left_out == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    one = extracted(stored(store), tmp_path / "one", ["/etc/motd"])
    assert (one.files, one.directories) == (1, 0)
    assert sorted(path.name for path in (tmp_path / "one").rglob("*")) == ["etc", "motd"]
    with pytest.raises(NotFoundError, match="nothing"):
        extracted(stored(store), tmp_path / "none", ["etc/nothing"])
    for path in ("../etc", "etc/../..", "."):
        with pytest.raises(UsageError):
            extracted(stored(store), tmp_path / "none", [path])
    assert not (tmp_path / "none").exists()


def test_nothing_that_is_there_is_written_into(store, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for target in (there, there / "file", tmp_path / "link"):
        with pytest.raises(StorageError):
            extracted(stored(store), target)
    (there / "file").unlink()
    extracted(stored(store), there)
    assert (there / "etc/motd").exists()


def test_links_holes_modes_times_and_what_is_left_out(tmp_path):
    builder = Builder()
    shared = builder.file(b"shared", mode=0o4755, mtime=1_500_000_000_123_456_789)
    tree = tree_of(
        {
            b"a": shared,
            b"b": rootfs.Directory(mode=0o500, children={b"again": shared}, mtime=10**18),
            b"long": rootfs.Symlink(mode=0o777, target=b"x" * 200),
            b"pipe": rootfs.Fifo(mode=0o640),
            b"null": rootfs.Device(mode=0o666, is_block=False, major=1, minor=3),
            b"odd \xff": builder.file(b"odd"),
            b"empty": builder.file(b""),
        },
        builder,
    )
    made = MemoryStore()
    from haulout.workload.build import image as images

    spec = images.ImageSpec(config(), 1_700_000_000)
    images.build_image(
        Root(tree, b"{}"), spec, PASSPHRASE, made, "1", progress=QUIET, before=lambda _: None, iteration_ms=QUICK
    )
    out = tmp_path / "out"
    done = extracted(stored(made), out)
    assert done.left_out == ("null",)
    assert (out / "a").stat().st_ino == (out / "b/again").stat().st_ino
    assert (out / "a").stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((out / "b").stat().st_mode) == 0o500
    assert (out / "b").stat().st_mtime_ns == 10**18
    assert (out / "long").readlink() == Path("x" * 200)
    assert stat.S_ISFIFO((out / "pipe").stat().st_mode)
    assert (os.fsencode(out) + b"/odd \xff") in {os.fsencode(path) for path in out.iterdir()}
    assert (out / "empty").read_bytes() == b""
    if os.geteuid() == 0:
        extracted(stored(made), tmp_path / "root", owners=True)
        assert stat.S_IMODE((tmp_path / "root/a").stat().st_mode) == 0o4755


def test_a_disk_without_a_binding_is_opened_and_is_not_verified(store, tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(plain_disk(system_with({}, Builder())))
    with opened(disk) as content:
        assert not content.verified
        assert content.size == content.system.size


def test_what_breaks_a_rule_is_not_handed_out(tmp_path):
    def change(plain):
        plain[2_000_000] ^= 1

    files = parts() | {krun.DISK_NAME: rewritten(parts()[krun.DISK_NAME], change)}
    with pytest.raises(InvalidWorkload) as caught, opened(stored(image(files))):
        pass
    assert caught.value.rule == "verity-block"
    with pytest.raises(InvalidWorkload), opened(stored(image({krun.CONFIG_NAME: config().to_bytes()}))):
        pass
    with pytest.raises(WrongPassphrase), opened(stored(image(parts())), b"wrong"):
        pass


def renamed(system: bytes, old: bytes, new: bytes) -> bytes:
    """A file system in which a name in a directory is another of the same length."""
    assert len(old) == len(new)
    assert system.count(old) == 1
    return system.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"slash-dot", b"../../abc"),
        (b"slash-dot", b"/etc/abcd"),
        (b"slash-dot", b"nul\0 here"),
        (b"slash-dot", b"same-name"),
    ],
)
def test_hostile_names_lead_nowhere(tmp_path, old, new):
    builder = Builder()
    children = {b"slash-dot": builder.file(b"evil"), b"same-name": rootfs.Symlink(mode=0o777, target=b"/tmp/evil")}
    system = renamed(system_with(children, builder), old, new)
    disk = tmp_path / "disk.img"
    disk.write_bytes(plain_disk(system))
    with pytest.raises((InvalidWorkload, StorageError)):
        extracted(disk, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["disk.img"]


def system_with(children, builder) -> bytes:
    from uuid import UUID

    tree = tree_of({b".krun_config.json": builder.file(b"{}")} | children, builder)
    plan = ext4.plan(tree, size=None, uuid=UUID(int=7), now=1_700_000_000)
    return b"".join(bytes(block) for block in ext4.stream(plan))


def test_a_link_that_leads_outside_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    builder = Builder()
    inner = rootfs.Directory(mode=0o755, children={b"file": builder.file(b"inside")})
    children = {b"sub": inner, b"sublink": rootfs.Symlink(mode=0o777, target=os.fsencode(outside))}
    disk = tmp_path / "disk.img"
    disk.write_bytes(plain_disk(system_with(children, builder)))
    extracted(disk, tmp_path / "out")
    assert list(outside.iterdir()) == []
    assert (tmp_path / "out/sublink").is_symlink()
    assert outside.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("seed", range(12))
def test_damaged_file_systems_end_in_one_of_our_errors(tmp_path, seed):
    import random

    chance = random.Random(seed)
    builder = Builder()
    data = bytearray(system_with({b"f": builder.file(b"x" * 9000), b"d": rootfs.Directory(mode=0o755)}, builder))
    used = [at for at in range(0, len(data), 64) if any(data[at : at + 64])]
    for _ in range(6):
        at = chance.choice(used) + chance.randrange(64)
        data[at] = chance.choice([0, 0xFF, data[at] ^ 1 << chance.randrange(8)])
    disk = tmp_path / "disk.img"
    disk.write_bytes(plain_disk(bytes(data)))
    try:
        extracted(disk, tmp_path / "out")
    except (ContentError, StorageError):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.img"]


# Another passphrase, another key


def rekeyed(store, *, reencrypt=False, new=NEW, target=None, passphrase=PASSPHRASE):
    seen = []
    rekey = Rekey(passphrase, new, reencrypt, QUICK)
    done = rekey_image(
        stored(store), target or store, "2", rekey, progress=QUIET, before=lambda *told: seen.append(told)
    )
    return done, seen


@pytest.mark.parametrize("reencrypt", [False, True])
def test_another_passphrase_or_key_changes_the_header_and_the_binding(store, reencrypt):
    before = inspected_in(store, "1", PASSPHRASE)
    done, seen = rekeyed(store, reencrypt=reencrypt)
    after = inspected_in(store, "2", NEW)
    assert rules(after) == []
    assert after.unlocked is not None
    assert after.unlocked.verity == "verified"
    assert after.binding == done.binding == replace(before.binding, luks_header=after.luks.digest)
    assert seen == [(done.binding, krun.Tee.SNP)]
    assert done.before == before.luks.digest
    assert done.header == after.luks.digest != done.before
    assert (after.luks.key_digest == before.luks.key_digest) is not reencrypt
    with pytest.raises(WrongPassphrase):
        inspected_in(store, "2", PASSPHRASE)
    # The image is as it was, but for that.
    assert [one.name for one in after.outer.members] == [one.name for one in before.outer.members]
    assert after.config == before.config


def inspected_in(store, tag, passphrase):
    from haulout.workload.inspect.inspection import inspect_image

    return inspect_image(stored(store, f"oci:it:{tag}"), passphrase, QUIET)


def test_without_reencryption_an_old_copy_of_the_header_opens_the_new_disk(store):
    """What luksChangeKey means, and why there is --reencrypt: this is said in the help."""
    rekeyed(store)
    old, new = (disk_in(store, tag) for tag in ("1", "2"))
    start = 4040 * luks.SECTOR
    assert old[start:] == new[start:]
    luks.open_volume(io.BytesIO(old[:start] + new[start:]), PASSPHRASE)
    rekeyed(store, reencrypt=True)
    assert disk_in(store, "2")[start : start + 4096] != old[start : start + 4096]


def disk_in(store, tag) -> bytes:
    manifest = json.loads(store.manifest(tag).data, "it")
    layer = Descriptor.from_json(manifest["layers"][-1], "layer")
    with store.open_blob(layer) as stream:
        data = stream.read(layer.size)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(krun.DISK_NAME)
        assert file is not None
        return file.read()


def test_a_layer_that_is_compressed_and_an_image_without_a_binding():
    files = {name: data for name, data in parts().items() if name != bindings.NAME}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = gzip.compress(archive.getvalue(), 1)
    store = MemoryStore()
    layer = Descriptor.of(f"{outer.LAYER}+gzip", data)
    store.push_blob(layer, lambda: io.BytesIO(data))
    text = outer.config("amd64", Descriptor.of(outer.LAYER, archive.getvalue()), "snp", 1_700_000_000)
    described = Descriptor.of("application/vnd.oci.image.config.v1+json", text)
    store.push_blob(described, lambda: io.BytesIO(text))
    from haulout.oci import Manifest

    manifest = Manifest(described, (layer,), annotations={"kept": "yes"})
    store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    for reencrypt in (False, True):
        done, _ = rekeyed(store, reencrypt=reencrypt)
        assert done.binding is None
        found = inspected_in(store, "2", NEW)
        assert rules(found) == []
        written = json.loads(store.manifest("2").data, "it")
        assert written["annotations"] == {"kept": "yes"}
        ids = json.loads(blob(store, written["config"]), "it")["rootfs"]["diff_ids"]
        assert ids == [written["layers"][0]["digest"]]


def blob(store, described) -> bytes:
    found = Descriptor.from_json(described, "it")
    with store.open_blob(found) as stream:
        return bytes(stream.read(found.size))


def test_a_failure_leaves_the_tag_as_it_was(store):
    before = store.manifest("1").descriptor.digest
    with pytest.raises(WrongPassphrase):
        rekeyed(store, passphrase=b"wrong")

    def refuse(*_):
        raise StorageError("key", "no room")

    with pytest.raises(StorageError):
        rekey_image(stored(store), store, "1", Rekey(PASSPHRASE, NEW, False, QUICK), progress=QUIET, before=refuse)
    assert store.manifest("1").descriptor.digest == before


def test_a_disk_by_itself_is_replaced_in_one_step(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(parts()[krun.DISK_NAME])
    for reencrypt, old, new in ((False, PASSPHRASE, NEW), (True, NEW, b"third")):
        done = rekey_disk(disk, disk, Rekey(old, new, reencrypt, QUICK), progress=QUIET, before=lambda *_: None)
        assert done.manifest is None
        assert done.header == Digest.of(disk.read_bytes()[: 4040 * luks.SECTOR])
        with opened(disk, new) as content:
            assert {one.name for one in content.files()} >= {"etc/motd"}
    assert [path.name for path in tmp_path.iterdir()] == ["disk.img"]
    assert body(disk.read_bytes())[-4096:]


def test_only_the_slot_that_opens_changes():
    volume = luks.create(b"one", iterations=1000)
    header = volume.layout
    # A second passphrase, in slot 3, as cryptsetup luksAddKey makes it.
    raw = bytearray(volume.header)
    other = luks.change_passphrase(io.BytesIO(bytes(raw) + b"x"), b"one", b"two", iteration_ms=QUICK)
    first, fourth = header.material(header.slots[0]), header.material(header.slots[3])
    raw[fourth[0] : fourth[0] + fourth[1]] = other.raw[first[0] : first[0] + first[1]]
    slots = list(header.slots)
    slots[3] = replace(other.slots[0], offset=header.slots[3].offset)
    packed = replace(header, slots=tuple(slots)).pack()
    raw[: len(packed)] = packed
    both = bytes(raw) + bytes(512)
    changed = luks.change_passphrase(io.BytesIO(both), b"two", b"three", iteration_ms=QUICK)
    file = io.BytesIO(changed.raw + bytes(512))
    luks.open_volume(file, b"one")
    luks.open_volume(file, b"three")
    with pytest.raises(WrongPassphrase):
        luks.open_volume(file, b"two")
    with pytest.raises(UsageError):
        luks.change_passphrase(file, b"one", b"")
