"""Credentials belong to an origin; what leaves it, and what is shown, is decided here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import RegistryError
from haulout.http.origin import Origin, is_local, is_loopback, redact
from haulout.http.proxies import bypasses_proxy
from haulout.http.redirects import resolve_location

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
