"""Verifying readers: no byte that was not announced comes out whole."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stores import put

from haulout.content.verify import VerifiedReader, read_blob
from haulout.errors import ContentError, DigestMismatch, SizeMismatch
from haulout.oci import EMPTY, Descriptor, Digest

BLOB = b"0123456789" * 100


# The verifying reader


class Stream:
    """A blob stream that may lie."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._file = io.BytesIO(data)
        self.start, self.stop = start, start + len(data)
        self.closed = False

    def read(self, amount: int) -> bytes:
        return self._file.read(amount)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.closed = True


@given(st.binary(max_size=300), st.lists(st.integers(1, 90), max_size=12))
def test_reading_in_any_steps_yields_the_verified_bytes(data, steps):
    out = b""
    with VerifiedReader(Stream(data), Descriptor.of("a/b", data), "it") as reader:
        for step in [*steps, 300]:
            out += reader.read(step)
        assert reader.read(5) == b""
    assert out == data


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=50), st.integers(1, 60))
def test_bytes_that_are_not_the_announced_never_come_out_whole(announced, actual, step):
    if announced == actual:
        return
    stream = Stream(actual)
    out = b""
    with pytest.raises(ContentError), VerifiedReader(stream, Descriptor.of("a/b", announced), "it") as reader:  # noqa: PT012
        while part := reader.read(step):
            out += part
    assert len(out) < len(announced)
    assert stream.closed


def test_stopping_early_is_an_error_unless_one_is_under_way():
    blob = Descriptor.of("a/b", BLOB)
    with pytest.raises(ContentError, match="not read to its end"), VerifiedReader(Stream(BLOB), blob, "it") as reader:
        reader.read(10)
    with pytest.raises(ZeroDivisionError), VerifiedReader(Stream(BLOB), blob, "it") as reader:
        raise ZeroDivisionError


def test_an_empty_blob_must_have_the_empty_digest():
    with VerifiedReader(Stream(b""), Descriptor.of("a/b", b""), "it"):
        pass
    with (
        pytest.raises(DigestMismatch),
        VerifiedReader(Stream(b""), Descriptor("a/b", Digest.of(b"x"), 0), "it"),
    ):
        pass


def test_a_stream_that_begins_elsewhere_is_refused():
    with (
        pytest.raises(SizeMismatch, match="beginning at byte 3"),
        VerifiedReader(Stream(BLOB, start=3), Descriptor.of("a/b", BLOB), "it") as reader,
    ):
        reader.read(1)


def test_small_blobs_have_a_limit_and_embedded_ones_need_no_store(store):
    blob = put(store)
    with pytest.raises(ContentError, match="1000 bytes; at most 999"):
        read_blob(store, blob, 999, "it")
    assert read_blob(store, EMPTY, 10, "it") == b"{}"
