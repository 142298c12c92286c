"""The payload of an open volume as a file."""

from __future__ import annotations

import io

import pytest
from tests.support.luks_volumes import PLAIN

from haulout.errors import SizeMismatch
from haulout.workload import luks

PASSPHRASE = b"correct horse"


def test_the_payload_is_a_file(image, volume):
    payload = luks.Payload(io.BytesIO(image + b"a footer"), volume, len(PLAIN))
    assert payload.read() == PLAIN
    assert payload.read(1) == b""
    for start, amount in ((0, 1), (511, 2), (512, 512), (1000, 1_500_000), (len(PLAIN) - 5, 10)):
        payload.seek(start)
        with_buffer = io.BufferedReader(payload)
        assert with_buffer.read(amount) == PLAIN[start : start + amount]
        with_buffer.detach()
    assert payload.seek(-3, io.SEEK_END) == len(PLAIN) - 3 == payload.tell()
    assert payload.seek(1, io.SEEK_CUR) == len(PLAIN) - 2
    assert not payload.writable()
    with pytest.raises(ValueError):
        payload.seek(-1)


def test_a_payload_that_ends_early_is_an_error(image, volume):
    payload = luks.Payload(io.BytesIO(image[:-700]), volume, len(PLAIN))
    with pytest.raises(SizeMismatch):
        payload.readall()
