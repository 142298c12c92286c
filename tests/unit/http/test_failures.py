"""What other people's code raises, and what servers answer, becomes one clear line of ours."""

from __future__ import annotations

import http.client
import inspect
import socket
import ssl

import pytest
import urllib3

from haulout.errors import RegistryError, UnreachableError
from haulout.http.failures import FOREIGN, is_refusal, may_pass, speaks_no_tls, translate

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


def _unverified(code: int = 18, message: str = "self-signed certificate") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def _expired() -> ssl.SSLCertVerificationError:
    return _unverified(10, "certificate has expired")


@pytest.mark.parametrize(
    ("cause", "says", "hint"),
    [
        (_unverified(), "certificate of host.example is not trusted: self-signed", "certs.d/host.example"),
        (_expired(), "certificate of host.example is not trusted: certificate has expired", "clock"),
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
