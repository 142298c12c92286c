"""Hashing a disk as a whole gives what ``sha256sum`` gives, holes or not; records believe only the bytes."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.errors import DigestMismatch
from haulout.fetch.records import Records, fingerprint
from haulout.frames.check import hash_file, require_disk
from haulout.oci import Digest, SizedDigest

MIB = 1 << 20
MANIFEST, OTHER = Digest("a" * 64), Digest("b" * 64)


class Counting:
    """A task that adds up."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, amount: int) -> None:
        self.done += amount

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def write(path, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    """Write a sparse file; return its content."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces:
            file.seek(offset % size)
            file.write(data[: size - offset % size])
    return bytes(path.read_bytes())


sparse = st.tuples(
    st.integers(1, 3 * MIB), st.lists(st.tuples(st.integers(0, 1 << 24), st.binary(min_size=1, max_size=9000)), max_size=5)
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(sparse)
def test_the_hash_is_that_of_the_whole_file(tmp_path_factory, shape):
    path = tmp_path_factory.mktemp("h") / "disk"
    content = write(path, *shape)
    task = Counting()
    with path.open("rb") as file:
        found = hash_file(file.fileno(), task)
    assert found == SizedDigest(Digest(hashlib.sha256(content).hexdigest()), len(content))
    assert task.done == len(content)


def test_a_disk_that_differs_in_size_or_content_is_not_the_one():
    stated = SizedDigest(MANIFEST, 5)
    require_disk(SizedDigest(MANIFEST, 5), stated)
    for wrong in (SizedDigest(MANIFEST, 6), SizedDigest(OTHER, 5)):
        with pytest.raises(DigestMismatch):
            require_disk(wrong, stated)


def printed(path) -> str:
    with path.open("rb") as file:
        return fingerprint(file.fileno())


@settings(deadline=None, max_examples=60)
@given(sparse, st.integers(0, 1 << 24), st.integers(1, 255))
def test_a_fingerprint_depends_on_content_alone_and_on_all_of_it(tmp_path_factory, shape, at, change):
    folder = tmp_path_factory.mktemp("f")
    content = write(folder / "sparse", *shape)
    (folder / "dense").write_bytes(content)
    assert printed(folder / "dense") == printed(folder / "sparse")
    at %= len(content)
    (folder / "changed").write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
    (folder / "longer").write_bytes(content + b"\0")
    assert len({printed(folder / name) for name in ("sparse", "changed", "longer")}) == 3


def test_the_same_content_at_another_place_is_another_disk(tmp_path):
    piece = os.urandom(MIB)
    (tmp_path / "one").write_bytes(piece + bytes(MIB))
    (tmp_path / "other").write_bytes(bytes(MIB) + piece)
    assert printed(tmp_path / "one") != printed(tmp_path / "other")


@pytest.fixture
def remembered(tmp_path):
    target = tmp_path / "disk"
    target.write_bytes(os.urandom(3 * MIB))
    records = Records(tmp_path / "cache")
    with target.open("rb") as file:
        records.remember(target, MANIFEST, "qcow2", file.fileno())
    assert records.holds(target, MANIFEST, "qcow2")
    return records, target


def test_a_record_is_of_one_manifest_form_and_path(remembered, tmp_path):
    records, target = remembered
    assert not records.holds(target, OTHER, "qcow2")
    assert not records.holds(target, MANIFEST, "plain")
    target.rename(tmp_path / "elsewhere")
    assert not records.holds(target, MANIFEST, "qcow2")
    assert not records.holds(tmp_path / "elsewhere", MANIFEST, "qcow2")


def test_a_changed_file_is_not_what_the_record_says(remembered):
    records, target = remembered
    with target.open("r+b") as file:
        file.seek(2 * MIB + 77)
        file.write(b"changed")
    assert not records.holds(target, MANIFEST, "qcow2")


def test_a_link_in_its_place_is_not_followed(remembered, tmp_path):
    records, target = remembered
    target.rename(tmp_path / "real")
    target.symlink_to(tmp_path / "real")
    assert not records.holds(target, MANIFEST, "qcow2")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"manifest":5}'])
def test_a_damaged_record_says_nothing(remembered, tmp_path, damage):
    records, target = remembered
    (record,) = (tmp_path / "cache").iterdir()
    assert json.loads(record.read_bytes())["path"] == str(target)
    record.write_bytes(damage)
    assert not records.holds(target, MANIFEST, "qcow2")


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "cache").write_bytes(b"a file in the way")
    target = tmp_path / "disk"
    target.write_bytes(b"x")
    records = Records(tmp_path / "cache")
    with target.open("rb") as file:
        records.remember(target, MANIFEST, "plain", file.fileno())
    assert not records.holds(target, MANIFEST, "plain")
