"""Clients that mean harm, over TLS: what they cost is bounded, no answer is a 5xx or has a traceback, and others get their keys."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import ssl
import time
from contextlib import ExitStack, closing, suppress

import pytest
from tests.support.broker_lab import SECRET, Lab

pytestmark = pytest.mark.long
LONG = os.environ.get("HAULOUT_TEST_BROKER")
AUTH = b"/kbs/v0/auth"
GOOD = json.dumps({"version": "0.4.0", "tee": "snp", "extra-params": ""}).encode()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("hostile") / "broker")
    with made.serving() as instance:
        made.instance_of_test = instance  # type: ignore[attr-defined]
        made.owner().register("w1", "snp")
        assert made.guest().resource("w1/key/disk") == SECRET
        made.before = instance.resident()  # type: ignore[attr-defined]
        yield made
        assert instance.process is not None
        assert instance.process.poll() is None


@pytest.fixture(autouse=True)
def unharmed(lab):
    """After each test: others are served, nothing failed within, memory is bounded."""
    yield
    assert lab.guest().resource("w1/key/disk") == SECRET
    lab.hang_up()
    words = lab.instance_of_test.words()
    assert "Traceback" not in words
    assert '"failed"' not in words, words[-2000:]
    assert lab.instance_of_test.resident() - lab.before < 96 << 20


def dial(lab, seconds=240.0):
    """Open a connection."""
    context = ssl.create_default_context(cafile=str(lab.ca))
    # From another address than that of the guests: each has so many connections.
    plain = socket.create_connection(("127.0.0.1", lab.port), seconds, ("127.0.0.2", 0))
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def heard(connection):
    """All that comes until the server closes, or the connection's time is over."""
    parts = []
    with suppress(ConnectionError, ssl.SSLError, TimeoutError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def statuses(data):
    return [int(number) for number in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def say(lab, data, seconds=240.0):
    """Send bytes, and return the statuses of all answers; the last request asks to close."""
    with closing(dial(lab, seconds)) as connection:
        with suppress(ConnectionError, ssl.SSLError):
            connection.sendall(data)
        return statuses(heard(connection))


def request(method=b"POST", path=AUTH, body=GOOD, *headers, close=True):
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: 127.0.0.1", *headers]
    if body is not None and not any(
        line.lower().startswith((b"content-length", b"transfer-encoding")) for line in headers
    ):
        lines.append(b"Content-Length: %d" % len(body))
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def test_what_is_no_http_is_answered_or_dropped(lab):
    noise = random.Random(5)
    for data in (
        b"\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        noise.randbytes(2000) + b"\r\n\r\n",
    ):
        # To what is no request yet, nothing is said.
        assert set(say(lab, data, 1.0)) <= {400, 404, 405, 505}, data


@pytest.mark.parametrize(
    ("case", "data", "expected"),
    [
        ("a long line", request(path=b"/" + b"a" * 200_000), {400, 404, 414, 431}),
        ("a long header", request(b"POST", AUTH, GOOD, b"X-Long: " + b"a" * 200_000), {400, 431}),
        ("many headers", request(b"POST", AUTH, GOOD, *[b"X-%d: y" % n for n in range(20_000)]), {400, 431}),
        ("a long cookie", request(b"POST", b"/kbs/v0/attest", GOOD, b"Cookie: kbs-session-id=" + b"a" * 30_000), {401}),
        ("many cookies", request(b"POST", b"/kbs/v0/attest", GOOD, b"Cookie: " + b"a=b; " * 6_000), {401}),
        ("a long token", request(b"GET", b"/kbs/v0/resource/w1/key/disk", None, b"Authorization: Bearer " + b"a.b" * 15_000), {401, 400, 431}),
        ("two lengths", request(b"POST", AUTH, GOOD, b"Content-Length: 5", b"Content-Length: 50"), {400}),
        ("a negative length", request(b"POST", AUTH, GOOD, b"Content-Length: -1"), {400}),
        ("a length that is none", request(b"POST", AUTH, GOOD, b"Content-Length: 0x10"), {400}),
        ("a length and chunks", request(b"POST", AUTH, b"0\r\n\r\n", b"Content-Length: 3", b"Transfer-Encoding: chunked"), {400}),
        ("chunks of no size", request(b"POST", AUTH, b"zz\r\nxx\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"), {400}),
        ("a chunk of huge size", request(b"POST", AUTH, b"f" * 40 + b"\r\nx", b"Transfer-Encoding: chunked"), {400}),
        ("a negative chunk", request(b"POST", AUTH, b"-5\r\nx\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"), {400}),
        ("an encoding not known", request(b"POST", AUTH, GOOD, b"Transfer-Encoding: gzip"), {400, 501}),
        ("chunks obfuscated", request(b"POST", AUTH, b"0\r\n\r\n", b"Transfer-Encoding: xchunked"), {400, 501}),
        ("a body that is announced and too large", request(b"POST", AUTH, b"x", b"Content-Length: 99999999999"), {400, 413}),
        ("no host", b"POST /kbs/v0/auth HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", {400}),
        ("a header with a null", request(b"POST", AUTH, GOOD, b"X: a\0b"), {400}),
        ("a folded header", request(b"POST", AUTH, GOOD, b"X: a\r\n b"), {200, 400}),
        ("an upgrade", request(b"GET", b"/kbs/v0/auth", None, b"Upgrade: websocket", b"Connection: upgrade"), {400, 404, 405}),
        ("a method of old", request(b"TRACE", AUTH, None), {405}),
        ("a method not known", request(b"BREW", AUTH, None), {405}),
        ("head", request(b"HEAD", b"/kbs/v0/resource/w1/key/disk", None), {401, 405}),
    ],
)  # fmt: skip
def test_heads_and_framing(lab, case, data, expected):
    found = say(lab, data)
    assert found, case
    assert set(found) <= expected, (case, found)


@pytest.mark.parametrize("kind", [b"text/plain", b"application/xml", b"multipart/form-data; boundary=x", b"application/json; charset=utf-16", b"", b"a/b/c;;;=,\xff"])  # fmt: skip
def test_another_type_of_content_is_json_or_refused(lab, kind):
    assert set(say(lab, request(b"POST", AUTH, GOOD, b"Content-Type: " + kind))) <= {200, 400, 415}


def test_compressed_bodies_are_not_expanded(lab):
    import gzip

    assert set(say(lab, request(b"POST", AUTH, gzip.compress(b" " * (64 << 20)), b"Content-Encoding: gzip"))) <= {
        400,
        415,
    }


@pytest.mark.parametrize(
    "where", [AUTH, b"/kbs/v0/attest", b"/v1/workloads/w1/policy", b"/kbs/v0/resource/w1/key/disk"]
)
def test_a_body_without_end_is_cut(lab, where):
    method = b"PUT" if b"policy" in where else b"POST"
    head = request(method, where, b"", b"Transfer-Encoding: chunked", b"Cookie: kbs-session-id=x", close=False)
    sent = 0
    with closing(dial(lab)) as connection:
        connection.sendall(head)
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with suppress(ConnectionError, ssl.SSLError, TimeoutError):
            while sent < 256 << 20:
                connection.sendall(chunk)
                sent += len(chunk)
        connection.settimeout(30)
        found = statuses(heard(connection))
    assert sent < 256 << 20
    assert set(found) <= {400, 401, 413}


def test_pipelined_requests_are_answered_in_their_order(lab):
    good = request(close=False)
    missing = request(b"GET", b"/nothing", None, close=False)
    assert say(lab, good + missing + good + missing + request()) == [200, 404, 200, 404, 200]


def test_a_thousand_pipelined_requests(lab):
    with closing(dial(lab)) as connection:
        with suppress(ConnectionError, ssl.SSLError):
            connection.sendall(
                request(b"GET", b"/nothing", None, close=False) * 1000 + request(b"GET", b"/nothing", None)
            )
        assert set(statuses(heard(connection))) <= {404, 429}


def test_clients_that_vanish(lab):
    for cut in range(0, len(request()), 7):
        with closing(dial(lab)) as connection:
            connection.sendall(request()[:cut])


def test_handshakes_that_do_not_end(lab):
    with ExitStack() as stack:
        for number in range(200):
            source = (f"127.0.0.{number % 9 + 3}", 0)
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", lab.port), 240, source))
            plain.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert lab.guest().resource("w1/key/disk") == SECRET


@pytest.mark.parametrize("where", ["head", "body"])
def test_slow_clients_do_not_stop_others_and_are_cut(lab, where):
    """Half a second between bytes; a broker gives a request a bounded time."""
    text = request(b"POST", AUTH, GOOD, b"X-Slow: " + b"a" * 3000)
    begin = 20 if where == "head" else text.index(b"\r\n\r\n") + 6
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(dial(lab))) for _ in range(50)]
        for each in slow:
            each.sendall(text[:begin])
        start, alive = time.monotonic(), slow
        while alive and time.monotonic() - start < 120:
            assert lab.guest().resource("w1/key/disk") == SECRET
            alive = [each for each in alive if drip(each, text[begin : begin + 1])]
            begin += 1
            time.sleep(0.5)
        assert alive == [], f"{len(alive)} of {len(slow)} connections still live after {time.monotonic() - start:.0f} s"


def drip(connection, data):
    """Send a byte; say whether the server still listens."""
    connection.settimeout(0.001)
    try:
        connection.sendall(data)
        return bool(connection.recv(1))
    except (TimeoutError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


@pytest.mark.skipif(not LONG, reason="takes a minute: make test-broker")
def test_bodies_at_random(lab):
    """Valid messages with bytes changed, 2000 of them: an answer to each, and none is 5xx."""
    noise = random.Random(7)
    guest = lab.guest()
    guest.request()
    whole = [GOOD, json.dumps(guest.attestation()).encode()]
    found: dict[int, int] = {}
    for number in range(2000):
        data = bytearray(whole[number % 2])
        for _ in range(noise.choice((1, 1, 2, 8))):
            at = noise.randrange(len(data))
            match noise.randrange(3):
                case 0:
                    data[at] = noise.randrange(256)
                case 1:
                    del data[at : at + noise.randrange(1, 40)]
                case _:
                    data[at:at] = noise.choice((b"null", b"{}", b"[", b'"', b"1e999", b"\\ud800", b"-1", b"true"))
        answer = guest.wire.post("/kbs/v0/attest" if number % 2 else "/kbs/v0/auth", bytes(data))
        found[answer.status] = found.get(answer.status, 0) + 1
    assert set(found) <= {200, 400, 401, 413, 429}, found
