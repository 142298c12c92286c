"""Where tokens may be asked for, how, and what is accepted as one."""

from __future__ import annotations

import json

import pytest

from haulout.errors import DeniedError, RegistryError
from haulout.http import Origin
from haulout.registry.auth.bearer import Token, check_realm, parse_token, token_request
from haulout.registry.auth.challenge import Challenge
from haulout.registry.options import Credentials

PUBLIC = Origin("https", "8.8.8.8", 443)
INNER = Origin("http", "127.0.0.1", 5000)


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "https://127.0.0.1/token",
        "https://localhost:8443/token",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/token",
        "https://10.1.2.3/token",
        "https://user:pw@auth.example/token",
        "file:///etc/passwd",
        "//auth.example",
        "",
    ],
)
def test_a_public_registry_cannot_send_us_anywhere(realm):
    with pytest.raises(DeniedError) as caught:
        check_realm(realm, PUBLIC)
    assert "pw" not in str(caught.value)


def test_honest_realms_are_accepted():
    assert check_realm("https://1.1.1.1/token", PUBLIC).host == "1.1.1.1"
    assert check_realm("https://8.8.8.8:8443/token", PUBLIC).port == 8443
    assert check_realm("http://127.0.0.1:5001/token", INNER).port == 5001
    with pytest.raises(DeniedError, match="not https"):
        check_realm("http://127.0.0.1:5001/token", Origin("https", "127.0.0.1", 5000))


_CHALLENGE = Challenge("bearer", {"realm": "https://auth.example/token?x=1", "service": "reg & co"})


def test_a_token_is_asked_with_basic_and_every_scope():
    request = token_request(_CHALLENGE, frozenset({"b", "a"}), Credentials("u", "p"), "haulout")

    assert request.method == "GET"
    assert request.target == "https://auth.example/token?x=1&service=reg+%26+co&scope=a&scope=b&account=u"
    assert request.headers == {"Authorization": "Basic dTpw"}
    assert "dTpw" not in repr(request)


def test_an_identity_token_is_posted():
    request = token_request(_CHALLENGE, frozenset({"a"}), Credentials("u", "p", "REFRESH"), "haulout")

    assert request.method == "POST"
    assert request.body is not None
    assert request.body() == (
        b"grant_type=refresh_token&service=reg+%26+co&client_id=haulout&scope=a&refresh_token=REFRESH"
    )
    assert "REFRESH" not in request.target + repr(request)
    assert "Authorization" not in request.headers


def test_nobody_asks_without_credentials():
    assert token_request(_CHALLENGE, frozenset(), None, "haulout").headers == {}


@pytest.mark.parametrize(
    ("document", "life"),
    [
        ({"token": "t"}, 60),
        ({"access_token": "t", "expires_in": 300}, 300),
        ({"token": "t", "expires_in": 5}, 60),
        ({"token": "t", "expires_in": -1}, 60),
        ({"token": "t", "expires_in": "300"}, 60),
        ({"token": "t", "expires_in": True}, 60),
        ({"token": "", "access_token": "t", "expires_in": 10**12}, 24 * 3600),
    ],
)
def test_token_lifetimes_are_bounded_both_ways(document, life):
    token = parse_token(json.dumps(document).encode(), PUBLIC, now=1000.0)

    assert token == Token("t", 1000.0 + life)
    assert token.is_fresh(1000.0 + life - 6)
    assert not token.is_fresh(1000.0 + life - 4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token":5}',
        b'{"token":"a\\r\\nHost: evil"}',
        b'{"token":"\xc3\xa9"}',
        b"<html>",
        b"[" * 100_000,
    ],
)
def test_what_is_no_token_is_refused_and_not_quoted(body):
    with pytest.raises(RegistryError, match=r"8\.8\.8\.8") as caught:
        parse_token(body, PUBLIC, 0.0)
    assert "evil" not in str(caught.value)
