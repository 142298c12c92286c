"""Credentials belong to an origin; what leaves it, and what is shown, is decided here."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import DeniedError, RegistryError
from haulout.http.origin import Origin, is_local, is_loopback, redact, resolve_location
from haulout.http.transport import bypasses_proxy
from haulout.registry.auth.challenge import Challenge
from haulout.registry.auth.token import Token, check_realm, parse_token, token_request
from haulout.registry.limits import limits_for
from haulout.registry.links import next_link
from haulout.registry.options import Credentials

PUBLIC = Origin("https", "8.8.8.8", 443)
INNER = Origin("http", "127.0.0.1", 5000)


def test_origins_differ_by_scheme_host_and_port():
    same = {Origin.of("https://Host.example/a"), Origin.of("https://host.example:443/b?c")}

    assert same == {Origin("https", "host.example", 443)}
    assert Origin.of("http://host.example") not in same
    assert Origin.of("https://host.example:444") not in same
    assert str(Origin.of("https://[::1]:5000/")) == "https://[::1]:5000"
    assert Origin.of("https://host.example/").netloc == "host.example"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "ftp://host/",
        "https://",
        "https://user:pw@host/",
        "https://host:99999/",
        "https://[::1",
        "javascript:x",
    ],
)
def test_what_is_no_plain_http_url_is_refused(url):
    with pytest.raises(RegistryError, match="not a usable URL") as caught:
        Origin.of(url)
    assert "pw" not in str(caught.value)


@given(st.text(max_size=80))
def test_any_url_is_read_or_refused(text):
    redact(text)
    try:
        Origin.of(resolve_location("https://host.example/v2/", text))
    except RegistryError as refused:
        shown = str(refused)
        assert "\n" not in shown


def test_shown_urls_hold_no_secrets():
    shown = redact("https://user:pw@store.example/path?X-Amz-Signature=SECRET")

    assert shown == "https://store.example/path?…"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.8.9.1:80", "[::1]:5000", "::1", "a.localhost"]
)
def test_loopback_is_known_by_its_spelling(host):
    assert is_loopback(host)
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["localhost.example", "128.0.0.1", "127.0.0.1.example", "[2001:4860::1]:443", "mylocalhost"]
)
def test_other_hosts_are_not(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1:80", "169.254.169.254", "[fe80::1]", "[::ffff:10.0.0.1]:80", "0.0.0.0"]
)
def test_inner_addresses_are_local(host):
    assert is_local(host)
    assert not is_loopback(host) or host.startswith("127")


# -- realms --------------------------------------------------------------------------------------------------------------


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


# -- small parsers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("</x>; rel=next", "/x"),
        ('</p>; rel="prev", </n>; rel="next"', "/n"),
        ('</a,b>; title="x, y"; rel="next"', "/a,b"),
        ('</p>; rel="previous"', None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_next_page_is_found(header, target):
    assert next_link(header) == target


@given(st.text(max_size=300))
def test_any_link_header_is_borne(text):
    assert next_link(text) is None or isinstance(next_link(text), str)


def test_limits_are_looked_up_by_host():
    assert limits_for("ghcr.io").chunk == 4 * 1024 * 1024
    assert limits_for("1.dkr.ecr.eu-west-1.amazonaws.com").chunk >= 5 * 1024 * 1024
    assert limits_for("ghcr.io.evil.example") == limits_for("anything.example")


@pytest.mark.parametrize(
    ("no_proxy", "bypassed"),
    [
        ("", False),
        ("*", True),
        ("registry.example", True),
        (".example", True),
        ("*.example", True),
        ("registry.example:443", True),
        ("registry.example:5000", False),
        ("istry.example", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy_is_honoured(no_proxy, bypassed):
    assert bypasses_proxy(Origin("https", "registry.example", 443), no_proxy) == bypassed


def test_no_proxy_knows_networks_and_loopback_needs_none():
    assert bypasses_proxy(Origin("https", "10.1.2.3", 443), "10.0.0.0/8")
    assert bypasses_proxy(INNER, "")
