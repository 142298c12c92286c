"""The binding: canonical, or refused."""

from __future__ import annotations

import hashlib
import json

import pytest
from tests.support.bindings import BINDING

from haulout.errors import InvalidWorkload
from haulout.workload.binding import Binding


def test_the_binding_is_canonical_and_its_values_are_its_hashes():
    data = BINDING.to_bytes()
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    assert BINDING.host_data == hashlib.sha256(data).digest()
    assert BINDING.mrconfigid == hashlib.sha384(data).digest()
    assert BINDING.personalization == hashlib.sha512(data).digest()
    assert Binding.parse(data) == BINDING


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v | {"version": 2}, "use a newer|version 2"),
        (lambda v: v | {"version": True}, "version"),
        (lambda v: v | {"type": "x"}, "type"),
        (lambda v: v | {"more": 1}, "members"),
        (lambda v: v | {"verity": {**v["verity"], "root": "00"}}, "wrong size"),
        (lambda v: v | {"verity": {**v["verity"], "hash_offset": 0}}, "wrong type"),
        (lambda v: v | {"luks_header": "sha256:0"}, "digest or key"),
        (lambda v: v | {"broker_key": "!"}, "digest or key"),
    ],
)
def test_bindings_of_others_are_refused(change, reason):
    values = json.dumps(change(json.loads(BINDING.to_bytes())), sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(InvalidWorkload, match=reason):
        Binding.parse(values)


def test_the_same_binding_in_another_form_is_refused():
    with pytest.raises(InvalidWorkload, match="canonical"):
        Binding.parse(json.dumps(json.loads(BINDING.to_bytes())).encode())
