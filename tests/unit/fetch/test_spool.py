"""A blob read in order and kept: whatever was kept before, only the announced bytes are vouched for."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.content.memory import MemoryStore, MemoryStream
from haulout.errors import DigestMismatch, SizeMismatch
from haulout.fetch.spool import SpooledBlob
from haulout.fetch.target import Partial
from haulout.oci import Descriptor
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


class Place(MemoryStore):
    """A store that counts what is read, and may ignore ranges or hand out other bytes."""

    def __init__(self, content: bytes, *, ranges: bool = True, short: int = 0) -> None:
        super().__init__()
        self.content, self.ranges, self.short = content, ranges, short
        self.opened: list[int] = []

    def open_blob(self, blob, start=0, stop=None):
        self.opened.append(start)
        return MemoryStream(self.content[: len(self.content) - self.short], start if self.ranges else 0, blob.size)


@contextmanager
def spooled(folder: Path, content: bytes, place: Place, kept: bytes = b"", announced: Descriptor | None = None):
    path = folder / "spool"
    path.write_bytes(kept)
    fd = os.open(path, os.O_RDWR)
    layer = announced or Descriptor.of("a/b", content)
    try:
        with (
            NullProgress().task("x", None) as task,
            SpooledBlob(place, layer, Partial(fd, path, folder / "out"), len(kept), task) as blob,
        ):
            yield blob
    finally:
        os.close(fd)


def drain(blob: SpooledBlob, amount: int) -> bytes:
    return b"".join(iter(lambda: blob.read(amount), b""))


contents = st.one_of(
    st.binary(min_size=1, max_size=5000),
    st.builds(
        lambda a, zeros, b: a + bytes(zeros) + b, st.binary(max_size=500), st.integers(0, 300_000), st.binary(min_size=1)
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(contents, st.floats(0, 1), st.integers(1, 200_000), st.booleans(), st.booleans())
def test_what_was_kept_and_what_is_fetched_make_the_blob(tmp_path_factory, content, part, amount, ranges, peek):
    folder = tmp_path_factory.mktemp("s")
    kept = content[: int(len(content) * part)]
    place = Place(content, ranges=ranges)
    with spooled(folder, content, place, kept) as blob:
        if peek:
            assert blob.peek() == content[:16]
        assert drain(blob, amount) == content
        blob.finish()
    assert (folder / "spool").read_bytes() == content
    assert place.opened == ([] if len(kept) == len(content) else [len(kept)])


@pytest.mark.parametrize("kept", range(20))
def test_what_the_blob_is_shows_however_little_was_kept(tmp_path, kept):
    content = b"\x28\xb5\x2f\xfd" + os.urandom(100)
    with spooled(tmp_path, content, Place(content), kept=content[:kept]) as blob:
        assert blob.peek() == content[:16]


def test_as_much_is_read_as_was_asked_for(tmp_path):
    content = os.urandom(3 * MIB)
    with spooled(tmp_path, content, Place(content), kept=content[: MIB + 5]) as blob:
        blob.peek()
        sizes = [len(blob.read(700_000)) for _ in range(5)]
    assert sizes == [700_000] * 4 + [3 * MIB - 4 * 700_000]


def test_finishing_reads_what_nobody_asked_for(tmp_path):
    content = os.urandom(3 * MIB + 5)
    with spooled(tmp_path, content, Place(content)) as blob:
        blob.read(10)
        blob.finish()
    assert (tmp_path / "spool").read_bytes() == content


def test_other_bytes_than_announced_are_found_out(tmp_path):
    content = os.urandom(5000)
    with spooled(tmp_path, content, Place(content[:-1] + bytes([content[-1] ^ 1]))) as blob:
        drain(blob, 1000)
        with pytest.raises(DigestMismatch):
            blob.finish()


def test_what_was_kept_is_not_trusted(tmp_path):
    content = os.urandom(5000)
    with (
        spooled(tmp_path, content, Place(content), kept=bytes([content[0] ^ 1]) + content[1:3000]) as blob,
        pytest.raises(DigestMismatch),
    ):
        blob.finish()


def test_a_blob_that_ends_early_is_found_out(tmp_path):
    content = os.urandom(5000)
    with spooled(tmp_path, content, Place(content, short=10)) as blob, pytest.raises(SizeMismatch):
        blob.finish()


def test_a_spool_that_became_shorter_meanwhile_is_found_out(tmp_path):
    content = os.urandom(3 * MIB)
    with spooled(tmp_path, content, Place(content), kept=content) as blob:
        blob.read(100)
        os.truncate(tmp_path / "spool", MIB)
        with pytest.raises(SizeMismatch):
            blob.finish()


def test_zeros_are_kept_as_holes(tmp_path):
    content = os.urandom(MIB) + bytes(32 * MIB) + os.urandom(MIB)
    with spooled(tmp_path, content, Place(content)) as blob:
        blob.finish()
        assert blob.stored == 2 * MIB
    assert (tmp_path / "spool").stat().st_blocks * 512 < 4 * MIB
    assert (tmp_path / "spool").read_bytes() == content
