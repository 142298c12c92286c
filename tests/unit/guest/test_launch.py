import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.guest.launch import MAX_BYTES, Launch
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.oci import Digest
from haulout.workload.binding import Binding

BINDING = Binding("web", Digest.of(b"header"), bytes(32), b"salt", 4096, b"key")
LAUNCH = Launch(BINDING, "https://broker.example:8443")


def test_a_document_is_a_disk_of_whole_sectors():
    data = LAUNCH.to_bytes()
    assert len(data) % 512 == 0
    assert Launch.parse(data) == LAUNCH


def test_the_binding_keeps_its_very_bytes():
    assert Launch.parse(LAUNCH.to_bytes()).binding.to_bytes() == BINDING.to_bytes()


def changed(**values):
    return json.dumps(json.loads(LAUNCH.to_bytes().rstrip(b"\0")) | values).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(4096),
        b"[]",
        b"\xff\xfe",
        b"{" * 100_000,
        b" " * (MAX_BYTES + 1) + b"{}",
        changed(type="another"),
        changed(version=2),
        changed(version=True),
        changed(binding="{}"),
        changed(binding=7),
        changed(broker_url=7),
        changed(resource=["a"]),
        changed(more="member"),
        changed(binding=" " + BINDING.to_bytes().decode()),
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(GuestRefusal) as refused:
        Launch.parse(data)
    assert refused.value.rule is Rule.LAUNCH


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_else(data):
    with pytest.raises(GuestRefusal):
        Launch.parse(data)
