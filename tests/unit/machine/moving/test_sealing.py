"""Sealed exports: what opens, and what does not."""

import pytest

from haulout.errors import ContentError, WrongPassphrase
from haulout.machine.moving.sealing import Sealing

SECRET = b"correct horse"


def test_chunks_bound_to_their_places():
    sealing = Sealing.begin(SECRET)
    sealed = sealing.seal(7, b"content")
    assert Sealing.open(sealing.text, SECRET).unseal(7, sealed, "chunk 7") == b"content"
    assert sealing.seal(7, b"content") == sealed, "the same again: nothing to send"
    for place, blob in ((8, sealed), (7, sealed[:-1]), (7, b""), (7, bytes([sealed[0] ^ 1]) + sealed[1:])):
        with pytest.raises(ContentError, match="chunk was changed"):
            sealing.unseal(place, blob, "chunk")
    with pytest.raises(WrongPassphrase, match="encrypted export"):
        Sealing.open(sealing.text, b"wrong")
    with pytest.raises(ContentError):
        Sealing.begin(SECRET).unseal(7, sealed, "chunk 7")
    assert "key" not in repr(sealing)
    assert SECRET.decode() not in repr(sealing)
