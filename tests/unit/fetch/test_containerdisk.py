"""Container disks: the file that a container would see under ``/disk/``, whatever layers and archives try."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
from functools import partial
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.content.layout import LayoutStore
from haulout.errors import ContentError, DigestMismatch, NotFoundError, UnsafeDiskError
from haulout.oci import Architecture, Descriptor, Digest, Manifest, mediatype, parse_reference
from haulout.oci import annotations as keys
from haulout.usecases.lookup import inventory, resolve
from haulout.usecases.pull import pull

MIB = 1 << 20
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
DIR, SYM, LINK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def disk(seed: int, size: int = 300_000) -> bytes:
    """Return a disk: a boot sector, some zeros, and noise."""
    start = bytes(510) + b"\x55\xaa" + bytes(70_000)
    return start + random.Random(seed).randbytes(-(-size // 512) * 512 - len(start) % 512)


BASE, NEW = disk(1, 500_000), disk(2)


def archive(*members: tuple[Any, ...], form: int = tarfile.GNU_FORMAT) -> bytes:
    """Write a tar archive of (name, content) and (name, link, kind)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind[0], content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def published(folder, *layers: bytes, annotations=None, labels=None):
    config = json.dumps({"architecture": Architecture.here().go, "os": "linux", "config": {"Labels": labels}}).encode()
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    tars = [Descriptor.of("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers]
    with LayoutStore(str(folder), create=True) as store:
        for descriptor, data in zip([described, *tars], [config, *layers], strict=True):
            store.push_blob(descriptor, partial(io.BytesIO, data))
        manifest = Manifest(described, tuple(tars), annotations=annotations or {})
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    return parse_reference(f"oci:{folder}:1")


def pulled(tmp_path, *layers, **options):
    reference = published(tmp_path / "m", *layers)
    pull(reference, output=tmp_path / "out", find_seeds=False, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "out"]
    return (tmp_path / "out").read_bytes()


@pytest.mark.parametrize("name", ["disk/d.qcow2", "./disk/d.qcow2", "/disk/d.qcow2", "disk/with space.img"])
@pytest.mark.parametrize("form", FORMATS)
def test_the_disk_is_found_as_tools_name_it(tmp_path, name, form):
    layer = archive(("etc/os-release", b"x" * 700), (name, NEW), form=form)
    assert pulled(tmp_path, layer) == NEW


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_file_with_a_long_name_is_hidden_as_any_other(tmp_path, form):
    long = "n" * 180
    lower = archive((f"disk/{long}.raw", BASE), ("i/" + "p/" * 80 + "n.raw", NEW), form=form)
    upper = archive((f"disk/.wh.{long}.raw", b""), ("disk/d.raw", "../i/" + "p/" * 80 + "n.raw", SYM), form=form)
    assert pulled(tmp_path, lower, upper) == NEW


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path, form):
    name = "disk/" + "n" * 180 + "-é.raw"
    assert pulled(tmp_path, archive(("p/" * 80 + "q", b"z"), (name, NEW), form=form)) == NEW


OLD = archive(("disk/", "", DIR), ("disk/d.raw", BASE))
VISIBLE = {
    "replaced": [OLD, archive(("disk/d.raw", NEW))],
    "replaced by a smaller layer": [OLD, archive(("disk/d.raw", NEW)), archive(("etc/x", b"y"))],
    "deleted": [OLD, archive(("disk/.wh.d.raw", b""), ("disk/n.raw", NEW))],
    "deleted after": [OLD, archive(("disk/n.raw", NEW), ("disk/.wh.d.raw", b""))],
    "opaque": [OLD, archive(("disk/.wh..wh..opq", b""), ("disk/n.raw", NEW))],
    "opaque after": [OLD, archive(("disk/n.raw", NEW), ("disk/.wh..wh..opq", b""))],
    "folder deleted": [OLD, archive((".wh.disk", b"")), archive(("disk/n.raw", NEW))],
    "folder deleted and made again": [OLD, archive((".wh.disk", b""), ("disk/n.raw", NEW))],
    "root opaque": [OLD, archive((".wh..wh..opq", b""), ("disk/n.raw", NEW))],
    "folder is a file, then a folder": [
        OLD,
        archive(("disk", b"file")),
        archive(("disk", "", DIR), ("disk/n.raw", NEW)),
    ],
    "folder becomes a link": [OLD, archive(("images/n.raw", NEW), ("disk", "images", SYM))],
    "file becomes a link": [OLD, archive(("images/n.raw", NEW), ("disk/d.raw", "../images/n.raw", SYM))],
    "absolute link": [OLD, archive(("images/n.raw", NEW), ("disk/d.raw", "/images/n.raw", SYM))],
    "file becomes a hard link": [OLD, archive(("images/n.raw", NEW), ("disk/d.raw", "images/n.raw", LINK))],
    "hard link to a lower layer": [archive(("images/n.raw", NEW)), archive(("disk/d.raw", "images/n.raw", LINK))],
    "two names of one file": [archive(("disk/n.raw", NEW), ("disk/disk.img", "disk/n.raw", LINK))],
    "a link beside its file": [archive(("disk/n.raw", NEW), ("disk/disk.img", "n.raw", SYM))],
    "written through a link": [OLD, archive(("store", "disk", SYM)), archive(("store/d.raw", NEW))],
    "becomes a folder": [OLD, archive(("disk/d.raw", "", DIR), ("disk/n.raw", NEW))],
    "twice in one layer": [archive(("disk/d.raw", BASE), ("disk/d.raw", NEW))],
    "deeper ones do not count": [archive(("disk/sub/e.raw", BASE), ("disk/n.raw", NEW))],
    "beside a readme": [archive(("disk/README", b"hello"), ("disk/n.raw", NEW), ("disk/n.raw.sha256", b"0"))],
    "beside an empty one": [archive(("disk/a.raw", b""), ("disk/n.raw", NEW))],
    "beside a device": [archive(("disk/a.raw", "", tarfile.CHRTYPE), ("disk/n.raw", NEW))],
    "beside a link out of the image": [archive(("disk/a.raw", "../../etc/shadow", SYM), ("disk/n.raw", NEW))],
    "under nine layers": [*(archive((f"usr/{n}", b"x" * n)) for n in range(9)), archive(("disk/n.raw", NEW))],
    "below nine layers": [archive(("disk/n.raw", NEW)), *(archive((f"usr/{n}", b"x" * n)) for n in range(9))],
    "among the same empty layer": [archive(), archive(("disk/n.raw", NEW)), archive()],
    "whiteout with another spelling": [OLD, archive(("./disk/.wh.d.raw", b""), ("/disk/n.raw", NEW))],
    "absolute whiteout": [OLD, archive(("/disk/.wh.d.raw", b""), ("./disk/n.raw", NEW))],
    "opaque with another spelling": [OLD, archive(("./disk/.wh..wh..opq", b""), ("disk/n.raw", NEW))],
    "whiteout through a link": [
        OLD,
        archive(("store", "disk", SYM), ("disk/n.raw", NEW)),
        archive(("store/.wh.d.raw", b"")),
    ],
    "whiteout that is a hard link": [
        OLD,
        archive(("disk/n.raw", NEW), ("disk/.wh.d.raw", "disk/n.raw", LINK)),
    ],
    "folder is a link, deleted": [
        archive(("images/d.raw", BASE), ("disk", "images", SYM)),
        archive((".wh.disk", b"")),
        archive(("disk/n.raw", NEW)),
    ],
    "folder is a link, whited out below": [
        archive(("images/d.raw", BASE), ("images/n.raw", NEW), ("disk", "images", SYM)),
        archive(("images/.wh.d.raw", b"")),
    ],
    "folder is an absolute link": [archive(("images/n.raw", NEW), ("disk", "/images", SYM))],
    "folder is a link of links": [archive(("c/n.raw", NEW), ("b", "c", SYM), ("disk", "./b/../b", SYM))],
    "link becomes a folder": [
        archive(("images/d.raw", BASE), ("disk", "images", SYM)),
        archive(("disk", "", DIR), ("disk/n.raw", NEW)),
    ],
    "link and folder in one layer": [archive(("disk", "images", SYM), ("images/n.raw", NEW))],
    "replaced by a link to its own content": [OLD, archive(("disk/n.raw", NEW), ("disk/d.raw", "disk/n.raw", LINK))],
    "name of the disk replaced, other name kept": [
        archive(("store/n.raw", NEW), ("disk/d.raw", "store/n.raw", LINK)),
        archive(("store/n.raw", BASE)),
    ],
    "other name deleted": [
        archive(("store/n.raw", NEW), ("disk/d.raw", "store/n.raw", LINK)),
        archive(("store/.wh.n.raw", b"")),
    ],
    "twice, in two spellings": [archive(("disk/n.raw", BASE), ("./disk/n.raw", NEW))],
    "a file, then the link that replaces it": [
        archive(("i/n.raw", NEW), ("disk/d.raw", BASE), ("disk/d.raw", "../i/n.raw", SYM))
    ],
    "a link, then the file that replaces it": [
        archive(("i/b.raw", BASE), ("disk/d.raw", "../i/b.raw", SYM), ("disk/d.raw", NEW))
    ],
    "deleted, and back two layers later": [OLD, archive(("disk/.wh.d.raw", b"")), archive(("disk/d.raw", NEW))],
    "books of aufs": [archive((".wh..wh.plnk/1", BASE), ("disk/n.raw", NEW), ("disk/.wh..wh.aufs", b""))],
    "without an end mark": [archive(("disk/n.raw", NEW))[: 512 + len(NEW)]],
    "after an empty blob": [b"", archive(("disk/n.raw", NEW))],
}


@pytest.mark.parametrize("layers", VISIBLE.values(), ids=VISIBLE)
def test_it_is_the_file_that_a_container_would_see(tmp_path, layers):
    assert pulled(tmp_path, *(gzip.compress(layer) for layer in layers)) == NEW


@pytest.mark.parametrize("layers", VISIBLE.values(), ids=VISIBLE)
def test_resolve_and_inspect_find_what_pull_finds(tmp_path, layers):
    reference = published(tmp_path / "m", *layers)
    found, held = resolve(reference), inventory(reference)
    planned = pull(reference, output=tmp_path / "out", dry_run=True)
    done = pull(reference, output=tmp_path / "out")
    assert (found.container_disk, planned.shape, done.shape, held.shape) == (True, *("container-disk",) * 3)
    assert [(item.role, item.disk_type) for item in held.disks] == [("disk", "container-disk")]
    assert found.layer.digest == done.blob.digest
    assert (
        planned.moved.fetched == done.moved.fetched == sum({Digest.of(layer): len(layer) for layer in layers}.values())
    )


HIDDEN = {
    "deleted in another spelling": [OLD, archive(("./disk/.wh.d.raw", b""))],
    "what the link leads to is deleted": [
        archive(("images/d.raw", NEW), ("disk", "images", SYM)),
        archive((".wh.images", b"")),
    ],
    "what the folder's link leads to is hidden": [
        archive(("images/d.raw", NEW), ("disk", "images", SYM)),
        archive(("images/.wh..wh..opq", b"")),
    ],
    "the folder becomes a link elsewhere": [OLD, archive(("empty/x", b""), ("disk", "empty", SYM))],
    "the folder is a link out of the image": [archive(("disk", "../../../nowhere", SYM))],
    "the folder is a link to itself": [archive(("disk", "disk", SYM))],
    "the folder is a file": [archive(("disk", NEW))],
    "deleted": [OLD, archive(("disk/.wh.d.raw", b""))],
    "opaque": [OLD, archive(("disk/.wh..wh..opq", b""))],
    "folder deleted": [OLD, archive((".wh.disk", b""))],
    "folder replaced": [OLD, archive(("disk", b"a file"))],
    "dangling": [OLD, archive(("disk/d.raw", "gone", SYM))],
    "endless": [OLD, archive(("disk/d.raw", "d.raw", SYM))],
    "emptied": [OLD, archive(("disk/d.raw", b""))],
    "a folder": [OLD, archive(("disk/d.raw", "", DIR))],
    "elsewhere": [archive(("disks/d.raw", NEW), ("usr/disk/d.raw", NEW), ("disk/sub/d.raw", NEW), ("d.raw", NEW))],
}


@pytest.mark.parametrize("layers", HIDDEN.values(), ids=HIDDEN)
def test_what_a_container_would_not_see_is_no_disk(tmp_path, layers):
    reference = published(tmp_path / "m", *layers)
    for act in (resolve, partial(pull, output=tmp_path / "out"), partial(pull, output=tmp_path / "out", dry_run=True)):
        with pytest.raises(NotFoundError, match="is a container image, not a disk") as caught:
            act(reference)
        assert "haulout inspect" in str(caught.value.hint)
    assert inventory(reference).shape == "container"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


TWO = [archive(("disk/a.raw", BASE)), archive(("disk/b.raw", NEW), ("disk/README", b"x"))]


def test_two_disks_are_listed_and_a_title_chooses(tmp_path):
    reference = published(tmp_path / "m", *TWO)
    for act in (resolve, partial(pull, output=tmp_path / "out")):
        with pytest.raises(NotFoundError, match=r"2 files under /disk/.*'a\.raw', 'b\.raw'$") as caught:
            act(reference)
        assert "--title" in str(caught.value.hint)
    assert inventory(reference).shape == "container-disk"
    for title, content in (("a.raw", BASE), ("b.raw", NEW)):
        pull(reference, output=tmp_path / title, title=title)
        assert (tmp_path / title).read_bytes() == content
    with pytest.raises(NotFoundError, match=r"no file 'c\.raw' under /disk/") as caught:
        pull(reference, output=tmp_path / "out", title="c.raw")
    assert "'a.raw', 'b.raw'" in str(caught.value.hint)


def test_a_name_of_escapes_is_spelled_out(tmp_path):
    reference = published(tmp_path / "m", archive(("disk/\x1b[2Ja.raw", BASE), ("disk/b.raw", NEW)))
    with pytest.raises(NotFoundError) as caught:
        resolve(reference)
    assert "\x1b" not in str(caught.value)


PACKED: dict[str, Any] = {"xz": lzma.compress, "gz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("how", PACKED)
def test_a_compressed_disk_is_expanded(tmp_path, how):
    assert pulled(tmp_path, gzip.compress(archive((f"disk/d.raw.{how}", PACKED[how](NEW))))) == NEW


def test_a_damaged_compressed_disk_is_refused(tmp_path):
    reference = published(tmp_path / "m", archive(("disk/d.raw.xz", lzma.compress(NEW)[:-100])))
    with pytest.raises(ContentError):
        pull(reference, output=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_is_not_the_disk_may_be_damaged(tmp_path):
    layers = [
        archive(("disk/d.raw.xz", lzma.compress(NEW)[:-100])),
        archive(("disk/.wh.d.raw.xz", b""), ("disk/d.raw", NEW)),
    ]
    assert pulled(tmp_path, *layers) == NEW


def test_a_bomb_in_a_disk_in_a_layer_is_stopped(tmp_path):
    bomb = lzma.compress(b"\1" * (80 * MIB), preset=0)
    reference = published(tmp_path / "m", zstandard.compress(archive(("disk/d.raw.xz", bomb))))
    with pytest.raises(ContentError, match="bomb"):
        pull(reference, output=tmp_path / "out")


@pytest.mark.parametrize("content", [NEW, lzma.compress(NEW), gzip.compress(b"no disk at all" * 99, mtime=0)])
def test_the_type_asked_for_is_what_comes(tmp_path, content):
    reference = published(tmp_path / "m", archive(("disk/d.qcow2", content)))
    with pytest.raises(UnsafeDiskError, match="qcow2 was asked for, but the disk is raw") as caught:
        pull(reference, output=tmp_path / "out", disk_type="qemu")
    assert "--as qcow2" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    pull(reference, output=tmp_path / "out", disk_type="raw")


def test_a_sparse_file_of_the_archive_keeps_its_holes(tmp_path):
    import subprocess

    (tmp_path / "src/disk").mkdir(parents=True)
    with (tmp_path / "src/disk/d.raw").open("wb") as file:
        file.write(NEW)
        file.truncate(64 * MIB)
    made = {}
    for form in ("gnu", "pax"):
        made[form] = subprocess.run(
            ["tar", "-C", tmp_path / "src", "-S", f"--format={form}", "-c", "disk"], check=True, capture_output=True
        ).stdout
    for form, layer in made.items():
        assert len(layer) < 2 * MIB
        pull(published(tmp_path / form, layer), output=tmp_path / "out", find_seeds=False)
        assert (tmp_path / "out").read_bytes() == (tmp_path / "src/disk/d.raw").read_bytes()
        assert (tmp_path / "out").stat().st_blocks * 512 < 2 * MIB


def test_an_interrupted_pull_resumes_with_what_is_verified(tmp_path):
    layers = [archive(("disk/d.raw", BASE)), archive(("disk/d.raw", NEW))]
    reference = published(tmp_path / "m", *layers)
    spool = tmp_path / f".out.{Digest.of(layers[0]).short}.blob.partial"
    spool.write_bytes(layers[0][:100_000])
    done = pull(reference, output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == NEW
    assert done.moved.fetched == sum(map(len, layers)) - 100_000


def test_damage_in_what_was_kept_is_fetched_again(tmp_path):
    layers = [archive(("disk/d.raw", BASE)), archive(("disk/d.raw", NEW))]
    for number, layer in enumerate(layers):
        reference = published(tmp_path / f"m{number}", *layers)
        spool = tmp_path / f".out{number}.{Digest.of(layer).short}.blob.partial"
        spool.write_bytes(b"\xff" * 100_000)
        pull(reference, output=tmp_path / f"out{number}", find_seeds=False)
        assert (tmp_path / f"out{number}").read_bytes() == NEW


def test_a_damaged_layer_is_told_from_a_damaged_archive(tmp_path):
    layer = archive(("disk/d.raw", NEW))
    reference = published(tmp_path / "m", layer)
    blob = tmp_path / "m/blobs/sha256" / Digest.of(layer).hex
    blob.chmod(0o644)
    blob.write_bytes(b"\xff" * 600 + layer[600:])
    with pytest.raises(DigestMismatch):
        pull(reference, output=tmp_path / "out")
    with pytest.raises(ContentError, match="refusing layer 1"):
        pull(published(tmp_path / "n", b"\xff" * 600 + layer[600:]), output=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "n"]


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=3000))
def test_nonsense_is_an_error_of_ours(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("nonsense")
    with pytest.raises((ContentError, NotFoundError)):
        pull(published(folder / "m", data), output=folder / "out")
    assert [path.name for path in folder.iterdir()] == ["m"]


# RecordingProgress container disks from other images


ORDINARY = gzip.compress(archive(("bin/sh", random.Random(1).randbytes(9000)), ("etc/passwd", b"root")), mtime=0)


def test_a_large_image_is_told_by_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr("haulout.fetch.containerdisk._MOST_LAID_OVER", 64 << 10)
    monkeypatch.setattr("haulout.fetch.containerdisk._MOST_LOOKED_INTO", 64 << 10)
    reference = published(tmp_path / "m", ORDINARY, archive(("disk/d.raw", NEW)))
    assert (resolve(reference).chosen, inventory(reference).shape) == (1, "container-disk")
    late = published(tmp_path / "late", archive(("usr/x", bytes(99_999)), ("disk/d.raw", NEW)))
    assert resolve(late).container_disk
    assert pull(late, output=tmp_path / "out").shape == "container-disk"


@pytest.mark.parametrize("layer", [ORDINARY[:4000], b"PK\x03\x04" + bytes(600), gzip.compress(b"x" * 2000, mtime=0)])
def test_what_cannot_be_told_is_left_to_the_pull(tmp_path, layer):
    assert resolve(published(tmp_path / "m", layer)).container_disk


def test_a_bomb_is_looked_into_no_further_than_its_bound(tmp_path, monkeypatch):
    from haulout.rootfs import Limits

    monkeypatch.setattr("haulout.fetch.containerdisk._LOOKING", Limits(plain_bytes=4 * MIB))
    assert resolve(published(tmp_path / "m", gzip.compress(archive(("x", bytes(40 * MIB)))))).container_disk


@pytest.mark.parametrize("known", ["annotation", "file"])
def test_a_confidential_workload_is_called_one(tmp_path, known):
    layer = archive(("krun-sev.json", b"{}"), ("disk.img", bytes(5000)))
    annotations = {keys.WORKLOAD: "{}"} if known == "annotation" else {}
    reference = published(tmp_path / "m", archive(("x", b"")) if annotations else layer, annotations=annotations)
    for act in (resolve, partial(pull, output=tmp_path / "out")):
        with pytest.raises(NotFoundError, match="is a confidential workload, not a disk") as caught:
            act(reference)
        assert f"haulout cw inspect {reference}" in str(caught.value.hint)
    assert inventory(reference).shape == "workload"


def test_a_bootable_image_is_not_searched(tmp_path):
    reference = published(tmp_path / "m", archive(("disk/d.raw", NEW)), labels={"containers.bootc": "1"})
    with pytest.raises(NotFoundError, match="is a container image, not a disk"):
        resolve(reference)
