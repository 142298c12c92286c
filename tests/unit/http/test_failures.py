"""What other people's code raises, and what servers answer, becomes one clear line of ours."""

from __future__ import annotations

import http.client
import inspect
import json
import socket
import ssl
from datetime import UTC, datetime

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import DeniedError, HauloutError, NotFoundError, RegistryError, UnreachableError
from haulout.http.errcode import Answer, codes, describe, failure
from haulout.http.failures import FOREIGN, is_refusal, may_pass, speaks_no_tls, translate
from haulout.http.retry import LONGEST_BACKOFF, parse_retry_after, wait_before_next

_CLASSES = [
    one
    for module in (urllib3.exceptions, http.client)
    for _, one in inspect.getmembers(module, inspect.isclass)
    if issubclass(one, Exception) and one.__module__ == module.__name__
]


def _make(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    error.args = ("GET /blob?signature=SECRET failed",)
    # What the usual constructor sets, and some of them print.
    vars(error).update(
        expected=9, partial=b"" if kind is http.client.IncompleteRead else 0, length=b"zz", response=None
    )
    return error


@pytest.mark.parametrize("kind", _CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_foreign_exception_is_caught_and_translated(kind):
    error = _make(kind)
    assert isinstance(error, FOREIGN)
    ours = translate(error, "host.example", "a manifest")

    assert isinstance(ours, UnreachableError | RegistryError)
    assert "host.example" in str(ours)
    assert str(ours).startswith("a manifest: ")
    assert "\n" not in str(ours)
    assert "SECRET" not in f"{ours} {ours.hint}"


def _wrapped(cause: BaseException) -> Exception:
    pool = urllib3.HTTPConnectionPool("host.example")
    outer = urllib3.exceptions.MaxRetryError(pool, "/path", None)
    outer.__cause__ = cause
    return outer


def _unverified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("cause", "says", "hint"),
    [
        (_unverified(), "certificate of host.example is not trusted: self-signed", "certs.d/host.example"),
        (ssl.SSLError(1, "wrong version number"), "does not answer with TLS", "--plain-http"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "does not resolve", "spelling"),
        (ConnectionRefusedError(111, "refused"), "nothing listens", "check host and port"),
        (TimeoutError("timed out"), "does not answer in time", "network"),
        (ConnectionResetError(104, "reset"), "broke", None),
        (http.client.LineTooLong("header line"), "not HTTP", None),
    ],
)
def test_the_innermost_reason_is_told_with_a_way_out(cause, says, hint):
    ours = translate(_wrapped(cause), "host.example", "x")

    assert says in str(ours)
    assert (hint in (ours.hint or "")) if hint else ours.hint is None


def test_what_cannot_change_is_not_tried_again():
    assert not may_pass(_wrapped(_unverified()))
    assert not may_pass(_wrapped(socket.gaierror(socket.EAI_NONAME, "unknown")))
    assert may_pass(_wrapped(socket.gaierror(socket.EAI_AGAIN, "try again")))
    assert may_pass(_wrapped(ConnectionResetError()))
    assert is_refusal(_wrapped(ConnectionRefusedError()))


def test_plain_http_is_only_concluded_from_what_a_plain_server_does():
    assert speaks_no_tls(_wrapped(ssl.SSLError(1, "wrong version number")), "registry.example")
    assert not speaks_no_tls(_wrapped(_unverified()), "127.0.0.1:5000")
    assert speaks_no_tls(_wrapped(ConnectionResetError()), "127.0.0.1:5000")
    assert not speaks_no_tls(_wrapped(ConnectionResetError()), "registry.example")
    assert not speaks_no_tls(_wrapped(ConnectionRefusedError()), "127.0.0.1:5000")


def _body(*errors: dict[str, str]) -> bytes:
    return json.dumps({"errors": list(errors)}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, DeniedError),
        (403, DeniedError),
        (404, NotFoundError),
        (429, RegistryError),
        (400, RegistryError),
        (500, RegistryError),
        (599, RegistryError),
    ],
)
def test_statuses_become_their_errors(status, kind):
    error = failure(Answer(status, {}, _body({"code": "SOME", "message": "words"})), "x", "host.example")

    assert type(error) is kind
    assert str(error).startswith("x: ")


def test_the_servers_words_are_shown_on_one_line():
    answer = Answer(400, {}, _body({"code": "NAME_INVALID", "message": "bad\nname\x1b[31m"}, {"code": "B"}))

    assert describe(answer) == "400 Bad Request (NAME_INVALID: bad name [31m; B)"
    assert codes(answer.body) == {"NAME_INVALID", "B"}


def test_denied_says_how_to_log_in_and_429_how_long_to_wait():
    assert failure(Answer(401, {}), "x", "host.example").hint == "haulout login host.example"
    assert "wait 90 s" in str(failure(Answer(429, {"retry-after": "90"}), "x", "host.example"))


def test_a_web_page_is_named():
    answer = Answer(503, {"content-type": "text/html; charset=utf-8"}, b"<html>Please log in</html>")
    error = failure(answer, "x", "host.example")

    assert "web page" in str(error)
    assert "proxy" in (error.hint or "")
    assert "Please" not in str(error)


@given(st.binary(max_size=300), st.integers(100, 999))
def test_any_body_is_described(body, status):
    assert "\n" not in describe(Answer(status, {}, body))
    assert isinstance(failure(Answer(status, {}, body), "x", "h"), HauloutError)


@pytest.mark.parametrize(
    "body", [b'{"errors":[1,null]}', b'{"errors":{}}', b"[" * 100_000, b'{"errors":[{"code":{}}]}']
)
def test_strange_bodies_are_borne(body):
    assert describe(Answer(500, {}, body)).startswith("500 Internal Server Error")


# -- retries -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, None])
def test_what_may_pass_is_tried_again(status):
    assert wait_before_next(1, 5, status=status) is not None
    assert wait_before_next(5, 5, status=status) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 416, 501])
def test_nothing_else_is(status):
    assert wait_before_next(1, 5, status=status) is None


@given(st.integers(1, 50), st.floats(0, 0.999), st.one_of(st.none(), st.floats(0, 60)))
def test_waits_are_bounded_and_never_shorter_than_asked(failures, jitter, asked):
    wait = wait_before_next(failures, 99, status=503, retry_after=asked, jitter=jitter)

    assert wait is not None
    assert (asked or 0) <= wait <= max(1.5 * LONGEST_BACKOFF, (asked or 0) + 0.25)


def test_a_server_that_asks_for_too_long_is_given_up():
    assert wait_before_next(1, 5, status=429, retry_after=3600) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("Wed, 99 Oct 2026 07:28:30 GMT", None),
    ],
)
def test_retry_after_is_read(text, seconds):
    assert parse_retry_after(text, datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_is_borne(text):
    found = parse_retry_after(text)
    assert found is None or found >= 0
