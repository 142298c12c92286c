"""Every kind of proxy, every variable, and whose fault it is said to be."""

from __future__ import annotations

import base64
import importlib.util
import socket
from contextlib import closing

import pytest
from tests.support.servers import issue_tls
from tests.support.simulators.proxies import http_proxy, proxy, socks_proxy
from tests.support.simulators.registry import Response, ScriptedServer

from haulout.errors import RegistryError, ToolError, UnreachableError, UsageError
from haulout.http import Client, HttpOptions, Origin, proxies
from haulout.http.proxies import bypasses_proxy, find_proxy, parse_proxy

QUICK = HttpOptions(attempts=1, connect_seconds=2.0, stall_seconds=2.0)
PLAIN, SECURE = Origin("http", "r.test", 80), Origin("https", "r.test", 443)
needs_socks = pytest.mark.skipif(importlib.util.find_spec("socks") is None, reason="PySocks is not installed")


def ask(url, options=QUICK, **environment):
    with Client(options, environment={"HOME": "/nonexistent", **environment}) as client:
        return b"".join(client.stream(url, what="a thing", most=100))


@pytest.fixture
def server():
    with ScriptedServer(lambda _: Response(200, body=b"here")) as made:
        yield made


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("origin", "environment", "found"),
    [
        (PLAIN, {"http_proxy": "a:1"}, "http_proxy a:1"),
        (PLAIN, {"HTTP_PROXY": "a:1"}, None),
        (PLAIN, {"https_proxy": "a:1", "HTTPS_PROXY": "b:1"}, None),
        (SECURE, {"https_proxy": "a:1"}, "https_proxy a:1"),
        (SECURE, {"HTTPS_PROXY": "a:1"}, "HTTPS_PROXY a:1"),
        (SECURE, {"https_proxy": "a:1", "HTTPS_PROXY": "b:1"}, "https_proxy a:1"),
        (SECURE, {"https_proxy": "", "HTTPS_PROXY": "b:1"}, "HTTPS_PROXY b:1"),
        (SECURE, {"http_proxy": "a:1"}, None),
        (SECURE, {"ALL_PROXY": "a:1"}, "ALL_PROXY a:1"),
        (PLAIN, {"all_proxy": "a:1", "ALL_PROXY": "b:1"}, "all_proxy a:1"),
        (PLAIN, {"all_proxy": "a:1", "http_proxy": "b:1"}, "http_proxy b:1"),
        (SECURE, {"ALL_PROXY": "a:1", "NO_PROXY": "r.test"}, None),
        (SECURE, {"ALL_PROXY": "a:1", "no_proxy": ".test"}, None),
        (SECURE, {"ALL_PROXY": "a:1", "no_proxy": "other", "NO_PROXY": "r.test"}, "ALL_PROXY a:1"),
        (Origin("https", "127.0.0.1", 443), {"ALL_PROXY": "a:1"}, None),
        (SECURE, {"https_proxy": " a:1 "}, "https_proxy a:1"),
        (SECURE, {"https_proxy": " "}, None),
        (SECURE, {}, None),
    ],
)
def test_the_variables_are_read_as_curl_reads_them(origin, environment, found):
    seen = find_proxy(origin, environment)
    assert (None if seen is None else f"{seen.variable} {seen.netloc}") == found


@pytest.mark.parametrize("no_proxy", ["a.test r.test", "a.test,\tr.test", "[::1], r.test"])
def test_no_proxy_is_a_list_with_commas_or_blanks(no_proxy):
    assert bypasses_proxy(SECURE, no_proxy)


def test_no_proxy_knows_addresses_in_brackets():
    assert bypasses_proxy(Origin("https", "fd00::1", 5000), "[fd00::1]:5000")


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("http://p:1", None, ""),
        ("http://me@p:1", "me", ""),
        ("http://me:p%40ss@p:1", "me", "p@ss"),
        ("http://m%3Ae:%25%2F%3a@p:1", "m:e", "%/:"),
        ("http://me:a@b@p:1", "me", "a@b"),
        ("socks5h://me:p%40ss@p:1", "me", "p@ss"),
    ],
)
def test_user_and_password_are_decoded(text, user, password):
    found = parse_proxy("x", text)
    assert (found.username, found.password, found.netloc) == (user, password, "p:1")
    assert password not in repr(found) or not password


@pytest.mark.parametrize(
    "text", ["ftp://p:1", "http://", "http://p:port", "http://p:99999", "socks://p", "http://[::1"]
)
def test_what_is_no_proxy_is_said_to_be_none(text):
    with pytest.raises(UsageError) as error:
        parse_proxy("https_proxy", text.replace("//p", "//me:SECRET@p"))
    assert "https_proxy" in str(error.value)
    assert "SECRET" not in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_plain_http_through_a_proxy(server, scheme):
    seen: list[str] = []
    with http_proxy(server.host, seen) as address:
        assert ask("http://r.test/x", http_proxy=f"{scheme}me:p%40ss%C3%A9@{address}") == b"here"
    assert seen == [f"GET http://r.test/x {basic('me:p@ssé')}"]


def test_https_through_a_proxy(tmp_path):
    tls = issue_tls(tmp_path, ("r.test",))
    seen: list[str] = []
    with (
        ScriptedServer(lambda _: Response(200, body=b"here"), tls=tls) as server,
        http_proxy(server.host, seen) as address,
    ):
        options = HttpOptions(attempts=1, ca_file=tls.ca)
        assert ask("https://r.test/x", options, HTTPS_PROXY=f"http://me:p%40ss@{address}") == b"here"
    assert seen == [f"CONNECT r.test:443 {basic('me:p@ss')}"]


@needs_socks
@pytest.mark.parametrize("scheme", ["socks5h", "socks5"])
def test_socks(server, scheme):
    seen: list[str] = []
    with socks_proxy(server.host, seen, login=("me", "p@ss")) as address:
        url = "http://r.test/x" if scheme == "socks5h" else "http://192.0.2.7/x"
        assert ask(url, ALL_PROXY=f"{scheme}://me:p%40ss@{address}") == b"here"
    assert seen == ["r.test:80" if scheme == "socks5h" else "192.0.2.7:80"]


@needs_socks
def test_https_through_socks(tmp_path):
    tls = issue_tls(tmp_path, ("r.test",))
    with (
        ScriptedServer(lambda _: Response(200, body=b"here"), tls=tls) as server,
        socks_proxy(server.host, []) as address,
    ):
        options = HttpOptions(attempts=1, ca_file=tls.ca)
        assert ask("https://r.test/x", options, all_proxy=f"socks5h://{address}") == b"here"


def test_socks_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("haulout.extras.find_spec", lambda _: None)
    with pytest.raises(ToolError) as error:
        ask("http://r.test/x", ALL_PROXY="socks5h://127.0.0.1:1")
    assert "haulout[socks]" in str(error.value.hint)


def closed_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


KINDS = ["http", "https", pytest.param("socks5h", marks=needs_socks)]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_is_down_is_named_and_nobody_else(scheme, kind):
    dead = closed_port()
    with pytest.raises(UnreachableError) as error:
        ask(f"{scheme}://r.test/x", all_proxy=f"{kind}://me:SECRET@{dead}")
    assert str(error.value) == (
        f"a thing: the proxy on the way to r.test fails: {dead} refuses connections: nothing listens there"
    )
    assert error.value.hint == "check all_proxy; no_proxy names hosts to reach without it"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_without_an_address_is_named(scheme, kind):
    with pytest.raises(UnreachableError) as error:
        ask(f"{scheme}://r.test/x", all_proxy=f"{kind}://proxy.invalid:3128")
    assert "the proxy on the way to r.test fails: the host name proxy.invalid:3128 does not resolve" in str(error.value)


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        ("407 Proxy Authentication Required", "write user and password into"),
        ("403 Forbidden", "check https_proxy"),
        ("502 Bad Gateway", "check https_proxy"),
    ],
)
def test_a_proxy_that_refuses_a_tunnel_is_named(refusal, hint):
    with http_proxy("127.0.0.1:1", [], refuse=refusal) as address, pytest.raises(UnreachableError) as error:
        ask("https://r.test/x", https_proxy=f"http://{address}")
    assert f"the proxy on the way to r.test fails: {address} answers {refusal}" in str(error.value)
    assert str(error.value.hint).startswith(hint)


@pytest.mark.parametrize(("refusal", "times"), [("407 X", 1), ("403 X", 1), ("502 X", 2), ("503 X", 2)])
def test_only_what_may_pass_is_tried_again(refusal, times):
    seen: list[str] = []
    options = HttpOptions(attempts=2, connect_seconds=2.0)
    with http_proxy("127.0.0.1:1", seen, refuse=refusal) as address, pytest.raises(UnreachableError):
        ask("https://r.test/x", options, https_proxy=f"http://{address}")
    assert len(seen) == times


def test_a_proxy_that_asks_who_we_are_for_plain_http_is_named():
    with (
        http_proxy("127.0.0.1:1", [], refuse="407 Proxy Authentication Required") as address,
        pytest.raises(UnreachableError) as error,
    ):
        ask("http://r.test/x", http_proxy=address)
    assert "the proxy on the way to r.test answers 407 Proxy Authentication Required" in str(error.value)


@needs_socks
def test_a_socks_proxy_that_refuses_is_named():
    with socks_proxy("127.0.0.1:1", [], login=("me", "right")) as address, pytest.raises(UnreachableError) as error:
        ask("http://r.test/x", all_proxy=f"socks5h://me:SECRET@{address}")
    assert "the proxy on the way to r.test fails: " in str(error.value)
    assert "SECRET" not in str(error.value)


def test_a_proxy_that_does_not_speak_http_is_named():
    def talk(client):
        client.recv(100)
        client.sendall(b"SSH-2.0-OpenSSH\r\n")

    with proxy(talk) as address, pytest.raises((UnreachableError, RegistryError)) as error:
        ask("https://r.test/x", https_proxy=f"http://{address}")
    assert "the proxy on the way to r.test fails" in str(error.value)


def test_the_ports_of_proxies():
    assert parse_proxy("x", "socks5://p").port == 1080
    assert parse_proxy("x", "p").port == 80
    assert set(proxies._PORTS) >= {"http", "https", "socks4", "socks5", "socks5h"}
