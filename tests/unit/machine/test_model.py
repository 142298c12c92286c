"""The machine file: what is written is read, and what is wrong is named."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulout.errors import HauloutError, InvalidFile, UsageError
from haulout.local import wrong_file
from haulout.machine import Accelerator, DiskKind, Firmware, Forward, Image, Machine, Mount, Resources, valid_name
from haulout.machine.model import SCHEMA as VERSION
from haulout.machine.model import Protocol, parse
from haulout.machine.update_settings import Policy, Severity, Update

PATH = Path("machine.json")
MACHINE = Machine(
    name="web",
    id="01234567-89ab-cdef-0123-456789abcdef",
    created="2026-01-02T03:04:05+00:00",
    image=Image("r.example/m:5", "r.example/m@sha256:" + "a" * 64, DiskKind.QCOW2),
    resources=Resources(4, 4096, 50),
    accelerator=Accelerator.TCG,
    firmware=Firmware.UEFI,
    mounts=(Mount("/src", "/mnt/src", read_only=True),),
    forwards=(Forward(8080, 80), Forward(5353, 53, Protocol.UDP)),
    ca=("host",),
    proxy="http://proxy.example:3128",
    update=Update(Policy.STAGE, "23:00-05:30", Severity.HIGH, pin=True, hooks=("/usr/bin/true",), health_seconds=60),
)
SCHEMA = Path(__file__).resolve().parents[3] / "docs/machine.schema.json"


def read(document, name="web"):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse(text, wrong_file(PATH), name)


def test_what_is_written_is_read():
    assert read(MACHINE.to_json().encode()) == MACHINE


def test_the_published_schema_names_every_member_and_no_other():
    def members(schema, value):
        if isinstance(value, dict):
            assert set(schema["properties"]) == set(value)
            assert schema["additionalProperties"] is False
            assert set(schema.get("required", [])) <= set(value)
            for name, each in value.items():
                members(schema["properties"][name], each)
        if isinstance(value, list):
            for each in value:
                members(schema["items"], each)

    members(json.loads(SCHEMA.read_text()), MACHINE.to_dict())


def test_the_file_holds_no_path_of_ours_and_no_state():
    text = MACHINE.to_json()
    for word in ("pid", "run/user/0", ".sock.", "started", "data.raw", "system.qcow2"):
        assert word not in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": VERSION + 1}, "newer haulout"),
        ({"schema": 0}, "schema"),
        ({"schema": None}, "schema"),
        ({"name": "other"}, "folder is 'web'"),
        ({"provider": "hyperv"}, "provider"),
        ({"id": "x"}, "id"),
        ({"image": None}, "image.reference"),
        ({"image": {"reference": "a", "pinned": "a:1", "format": "raw"}}, "image.pinned"),
        ({"image": {**MACHINE.to_dict()["image"], "format": "vhdx"}}, "image.format"),
        ({"resources": {"cpus": 0, "memory": 512, "disk": 1}}, "resources.cpus"),
        ({"resources": {"cpus": 1, "memory": 1, "disk": 1}}, "resources.memory"),
        ({"resources": {"cpus": 1, "memory": 512}}, "resources.disk"),
        ({"mounts": [{"source": "src", "target": "/x"}]}, "mounts[0].source"),
        ({"forwards": [{"host": 1, "guest": 70000}]}, "forwards[0].guest"),
        ({"sockets": [{"name": "../x", "guest": "/a", "user": "core"}]}, "sockets[0].name"),
        ({"sockets": [{"name": "x", "guest": "/a", "user": "-oProxyCommand=x"}]}, "sockets[0].user"),
        ({"sockets": [{"name": "control", "guest": "/a", "user": "core"}]}, "sockets: has a name"),
        ({"sockets": [{"name": "to-x", "guest": "/a", "user": "core"}]}, "sockets[0].name"),
        ({"sockets": [{"name": "x", "guest": "/a", "user": "core"}] * 2}, "sockets: has a name twice"),
        ({"accelerator": "warp"}, "accelerator"),
        ({"cpu": 4}, "cpu"),
        ({"update": {"policy": "sometimes"}}, "update.policy"),
        ({"update": {"window": "24:00-05:00"}}, "update.window"),
        ({"update": {"window": "1-2"}}, "update.window"),
        ({"update": {"min_severity": 5}}, "update.min_severity"),
        ({"update": {"hooks": ["true"]}}, "update.hooks"),
        ({"update": {"health_seconds": 0}}, "update.health_seconds"),
        ({"update": {"when": 1}}, "update.when"),
    ],
)
def test_a_wrong_value_is_named(change, says):
    document = MACHINE.to_dict() | change
    with pytest.raises(InvalidFile) as caught:
        read({key: value for key, value in document.items() if value is not None})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", MACHINE.to_json().encode()[:100], b"\xff\xfe", b"[" * 100_000]
)
def test_a_damaged_file_is_an_error_of_one_line(text):
    with pytest.raises(InvalidFile) as caught:
        read(text)
    assert "\n" not in str(caught.value)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(MACHINE.to_dict())), st.none() | st.integers() | st.text() | st.lists(st.none()))
def test_no_value_breaks_the_parser(key, value):
    with contextlib.suppress(InvalidFile):
        read(MACHINE.to_dict() | {key: value})


@pytest.mark.parametrize(
    "name", ["", "a", "A", "web_1", "-web", "web-", "../x", "x" * 31, "web.1", "wéb", "web\n", "web/x"]
)
def test_a_name_is_a_host_name(name):
    with pytest.raises(UsageError):
        valid_name(name)


def test_names_that_are_valid():
    assert [valid_name(name) for name in ("ab", "web-1", "0" * 30)]


def test_each_machine_has_a_network_address_of_its_own_that_nobody_was_assigned():
    assert MACHINE.mac == "52:01:23:45:67:89"
    assert int(MACHINE.mac[:2], 16) & 3 == 2


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a", Mount("/a", "/a")),
        ("/a:/b", Mount("/a", "/b")),
        ("/a:/b:ro", Mount("/a", "/b", read_only=True)),
        ("/a b:/b:rw", Mount("/a b", "/b")),
    ],
)
def test_mounts(text, mount):
    assert Mount.parse(text) == mount


@pytest.mark.parametrize("text", ["", "a", "/a:b", "/a:/b:x", ":/b", "/a:/b:ro:x"])
def test_what_is_no_mount(text):
    with pytest.raises(UsageError):
        Mount.parse(text)


def test_forwards():
    assert Forward.parse("8080:80") == Forward.parse("8080:80/tcp") == Forward(8080, 80)
    assert Forward.parse("53:53/udp") == Forward(53, 53, Protocol.UDP)


@pytest.mark.parametrize(
    "text", ["", "80", "80:", "0:80", "80:65536", "a:b", "-1:1", "1:2:3", "²:1", "1:2/sctp", "1:2/"]
)
def test_what_is_no_forward(text):
    with pytest.raises(HauloutError):
        Forward.parse(text)


def test_a_data_disk_grows_and_never_shrinks():
    assert MACHINE.changed(disk=60, memory=512).resources == Resources(4, 512, 60)
    with pytest.raises(UsageError, match="cannot shrink"):
        MACHINE.changed(disk=49)
