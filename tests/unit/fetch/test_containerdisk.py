"""Container disks: the first file under ``/disk/`` of a tar stream, whatever the archive tries."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import tracemalloc
from functools import partial
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.content.layout import LayoutStore
from haulout.errors import InvalidFrame, NotFoundError
from haulout.fetch.containerdisk import NoDiskInLayer, disk_in_tar
from haulout.oci import Architecture, Descriptor, Manifest, mediatype, parse_reference
from haulout.usecases.lookup import resolve
from haulout.usecases.pull import pull

MIB = 1 << 20
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def archive(*members: tuple[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def special(kind: bytes, name: str, *, link: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info.tobuf(tarfile.GNU_FORMAT)


def read(data: bytes, step: int = 10_000) -> bytes:
    return b"".join(disk_in_tar(iter([data[start : start + step] for start in range(0, len(data), step)])))


@pytest.mark.parametrize("name", ["disk/d.qcow2", "./disk/d.qcow2", "/disk/d.qcow2", "disk/with space.img"])
@pytest.mark.parametrize("form", FORMATS)
def test_the_disk_is_found_as_tools_name_it(name, form):
    content = random.Random(name).randbytes(3 * MIB + 17)
    assert read(archive(("etc/os-release", b"x" * 700), (name, content), ("disk/second", b"no"), form=form)) == content


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_large_headers_of_honest_tools(form):
    name = "disk/" + "n" * 180 + "-é.raw"
    assert read(archive(("p/" * 80 + "q", b"z"), (name, b"content"), form=form)) == b"content"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b/c", "disk/sub/deeper", "diskette"]), st.binary(max_size=2000)), max_size=5),
    st.binary(min_size=1, max_size=5000),
    st.integers(1, 3000),
    st.sampled_from(FORMATS),
)  # fmt: skip
def test_how_the_stream_is_cut_changes_nothing(before, content, step, form):
    assert read(archive(*before, ("disk/d", content), form=form), step) == content


@pytest.mark.parametrize(
    "members",
    [
        (),
        (("disk/", b""),),
        (("disk/empty", b""),),
        (("disks/d", b"x"),),
        (("usr/disk/d", b"x"),),
        (("disk/sub/d", b"x"),),
    ],
)
def test_a_layer_without_a_disk_is_passed_over(members):
    with pytest.raises(NoDiskInLayer):
        read(archive(*members))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE],
)
def test_what_is_no_plain_file_is_no_disk(kind):
    trap = special(kind, "disk/trap", link="/etc/passwd")
    assert read(trap + archive(("disk/real", b"real"))) == b"real"


def test_a_truncated_archive_is_no_disk_however_it_is_cut():
    content = b"0123456789" * 200
    whole = archive(("etc/a", b"y" * 600), ("disk/d", content))
    end = whole.index(content) + len(content)
    for cut in (*range(1, end, 97), end - 1):
        with pytest.raises((InvalidFrame, NoDiskInLayer)):
            read(whole[:cut])


@pytest.mark.parametrize(
    "data",
    [b"\x01" * 512, b"plain text, no archive" * 40, bytes(100), special(tarfile.REGTYPE, "disk/d", size=10)[:-1]],
)
def test_what_is_no_archive_is_said_to_be_none(data):
    with pytest.raises((InvalidFrame, NoDiskInLayer)):
        read(data)


def test_a_flipped_header_is_noticed():
    whole = archive(("disk/d", b"content"))
    for at in (0, 100, 124, 148, 156, 257):
        bad = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(InvalidFrame):
            read(bad)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=3000))
def test_nonsense_is_one_of_two_findings(data):
    with pytest.raises((InvalidFrame, NoDiskInLayer)):
        read(data)


def peak_of(pieces) -> int:
    tracemalloc.start()
    try:
        with pytest.raises((InvalidFrame, NoDiskInLayer)):
            for _ in disk_in_tar(iter(pieces)):
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
    ],
)
def test_a_header_of_a_gigabyte_is_not_held(kind):
    """A megabyte of compressed zeros is a gigabyte here; headers are read into memory, so they have a bound."""
    header = special(kind, "x", size=1 << 30)
    assert peak_of([header, *repeat(bytes(MIB), 64)]) < 16 * MIB


def test_a_sparse_map_without_end_is_not_held():
    header = bytearray(special(tarfile.GNUTYPE_SPARSE, "disk/d"))
    header[386:482] = (b"%011o\0" % 4096) * 8
    header[482] = 1  # more blocks of the map follow
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    block = ((b"%011o\0" % 4096) * 42 + b"\x01").ljust(512, b"\0")
    assert peak_of([bytes(header), *repeat(block * 2048, 32)]) < 16 * MIB


def test_a_sparse_map_in_extended_headers_is_not_held():
    texts = (b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.name=disk/d", b"GNU.sparse.realsize=9")
    records = b"".join(b"%d %s\n" % (len(text) + 4, text) for text in texts)
    header = special(tarfile.XHDTYPE, "x", size=len(records)) + records.ljust(512, b"\0")
    member = special(tarfile.REGTYPE, "GNUSparseFile.0/d", size=1 << 34)
    sparse_map = b"99999999\n" + b"1\n" * ((MIB - 9) // 2)
    assert peak_of([header + member, sparse_map, *repeat(b"1\n" * (MIB // 2), 16)]) < 16 * MIB


def test_members_beyond_counting_end(monkeypatch):
    monkeypatch.setattr("haulout.fetch.containerdisk._MAX_MEMBERS", 1000)
    folder = special(tarfile.DIRTYPE, "d")
    assert read(folder * 999 + archive(("disk/d", b"x"))) == b"x"
    with pytest.raises(NoDiskInLayer):
        read(folder * 1000 + archive(("disk/d", b"x")))


@pytest.mark.parametrize(
    "records",
    [b"x path=disk/d\n", b"99 path=disk/d\n", b"14 path=disk/d", b"13 path=disk/d\n", b"0 a=b\n", b"12 size=1e9\n"],
)
def test_attributes_that_are_none_are_refused(records):
    header = special(tarfile.XHDTYPE, "x", size=len(records)) + records.ljust(512, b"\0")
    with pytest.raises(InvalidFrame):
        read(header + archive(("other", b"x")))


def test_a_size_below_zero_is_refused():
    header = bytearray(special(tarfile.REGTYPE, "disk/d", size=5))
    header[124:136] = b"\xff" * 12  # base 256, two's complement
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(InvalidFrame, match="negative"):
        read(bytes(header) + bytes(1024))


# Telling container disks from ordinary images


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def published(folder, *layers: bytes):
    config = json.dumps({"architecture": Architecture.here().go, "os": "linux"}).encode()
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    tars = [Descriptor.of("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers]
    with LayoutStore(str(folder), create=True) as store:
        for descriptor, data in zip([described, *tars], [config, *layers], strict=True):
            store.push_blob(descriptor, partial(io.BytesIO, data))
        manifest = Manifest(described, tuple(tars))
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    return parse_reference(f"oci:{folder}:1")


ORDINARY = gzip.compress(archive(("bin/sh", random.Random(1).randbytes(9000)), ("etc/passwd", b"root")))
WITH_DISK = gzip.compress(archive(("disk/d.raw", bytes(5000))))


def test_an_ordinary_small_image_does_not_resolve(tmp_path):
    reference = published(tmp_path / "m", ORDINARY, gzip.compress(archive(("usr/x", b"y"))))
    with pytest.raises(NotFoundError, match="is a container image, not a disk"):
        resolve(reference)


def test_a_pull_of_an_ordinary_small_image_is_refused_before_it_is_planned(tmp_path):
    reference = published(tmp_path / "m", ORDINARY, gzip.compress(archive(("usr/x", b"y"))))
    said = []
    for dry_run in (True, False):
        with pytest.raises(NotFoundError, match="is a container image, not a disk") as caught:
            pull(reference, output=tmp_path / "out", dry_run=dry_run)
        said.append((str(caught.value), caught.value.hint))
    assert said[0] == said[1]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_layer_with_the_disk_is_the_one_planned(tmp_path):
    reference = published(tmp_path / "m", ORDINARY, WITH_DISK)
    planned = pull(reference, output=tmp_path / "out", dry_run=True)
    done = pull(reference, output=tmp_path / "out")
    assert (planned.status, planned.blob, planned.moved.fetched) == ("planned", done.blob, len(WITH_DISK))


def test_the_layer_with_the_disk_is_the_one_resolved(tmp_path):
    assert len(ORDINARY) > len(WITH_DISK)
    found = resolve(published(tmp_path / "m", ORDINARY, WITH_DISK))
    assert found.container_disk
    assert [layer.size for layer in found.layers] == [len(WITH_DISK), len(ORDINARY)]


@pytest.mark.parametrize(
    "layer", [ORDINARY[:4000], b"PK\x03\x04" + bytes(600), gzip.compress(b"x" * 2000)], ids=["cut", "zip", "no-tar"]
)
def test_what_cannot_be_told_is_left_to_the_pull(tmp_path, layer):
    assert resolve(published(tmp_path / "m", layer)).container_disk


def test_a_bomb_is_looked_into_no_further_than_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("haulout.fetch.containerdisk._MOST_EXPANDED", 4 * MIB)
    assert resolve(published(tmp_path / "m", gzip.compress(archive(("x", bytes(40 * MIB)))))).container_disk
