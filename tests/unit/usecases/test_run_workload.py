"""How the end of a guest is judged; tests/integration/test_confidential.py has real ones."""

import io
from pathlib import Path

import pytest

from haulout.usecases.guest_ports import Event, Ports, follow
from haulout.usecases.run_workload import _as_seen_inside, _judged

PANIC = [
    "device-mapper: verity: 254:1: data block 77 is corrupted",
    "Kernel panic - not syncing: dm-verity device corrupted",
    "Call Trace:",
]


def judged(*steps, tail=(), stopped=None):
    events = [Event(step, text, more, 10.0 + number) for number, (step, text, more) in enumerate(steps)]
    return _judged("web", Ports(Path(), lambda step, text: None, events), list(tail), stopped, 20.0, 10.0)


def test_a_workload_that_ends_has_its_exit_code():
    run = judged(("key", "", {}), ("start", "sh", {}), ("ended", "", {"code": 7}))
    assert (run.started, run.code, run.rule, run.start_seconds) == (True, 7, None, 1.0)


def test_a_guest_that_refuses_says_why():
    run = judged(("refused", "no (broker-key)", {"rule": "broker-key"}))
    assert (run.started, run.code, run.rule, run.reason) == (False, None, "broker-key", "no (broker-key)")


def test_a_kernel_that_stops_said_why_before_its_trace():
    run = judged(("start", "sh", {}), tail=PANIC)
    assert (run.started, run.rule, run.reason) == (True, "died", PANIC[0])


@pytest.mark.parametrize(("tail", "reason"), [((), "the machine said nothing"), (("a", "b"), "b")])
def test_a_machine_that_ends_without_a_word_died(tail, reason):
    run = judged(tail=tail)
    assert (run.started, run.rule, run.reason) == (False, "died", reason)


def test_a_machine_that_was_stopped_did_not_die():
    assert judged(("start", "", {}), stopped="it was interrupted").rule == "stopped"


@pytest.mark.parametrize("code", [None, "0", -1, 256, 1.5])
def test_a_guest_cannot_choose_another_exit_code_than_there_are(code):
    run = judged(("start", "", {}), ("ended", "", {"code": code}))
    assert (run.code, run.rule) == (None, "died")


def test_what_led_to_a_long_trace_is_kept():
    lines = [*PANIC, *(f"frame {number}" for number in range(500))]
    seen: list[bytes] = []
    tail = follow(io.BytesIO("\r\n".join(lines).encode()), seen.append)
    assert tail[0] == PANIC[0]
    assert len(seen) == len(lines)


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("https://127.0.0.1:8443", "https://10.0.2.2:8443"),
        ("https://localhost/kbs", "https://10.0.2.2/kbs"),
        ("https://[::1]:8443", "https://10.0.2.2:8443"),
        ("https://broker.example:8443", "https://broker.example:8443"),
    ],
)
def test_this_machine_is_named_as_the_guest_sees_it(url, inside):
    assert _as_seen_inside(url) == inside


def test_a_console_that_never_ends_does_not_fill_the_memory():
    lines = [PANIC[0], *(f"line {number}" for number in range(5000))]
    assert len(follow(io.BytesIO("\n".join(lines).encode()), lambda line: None)) < 100
