"""The proxy of a guest: what it gets of the host's, and the script that says so, run in a folder."""

from __future__ import annotations

import subprocess

import pytest

from haulout.errors import UsageError
from haulout.machine.guest import proxy

DIRECT = "localhost,127.0.0.1,::1,10.0.2.2"


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("http://127.0.0.1:3128/", "http://10.0.2.2:3128"),
        ("https://localhost:1", "https://10.0.2.2:1"),
        ("http://[::1]:8080", "http://10.0.2.2:8080"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080"),
        ("http://me:p%40s@127.9.9.9", "http://me:p%40s@10.0.2.2"),
        ("http://me:a'b\"c$(d)`\\ e@proxy", "http://me:a%27b%22c%24(d)%60%5C%20e@proxy"),
        ("socks5h://localhost:1080", "socks5h://10.0.2.2:1080"),
    ],
)
def test_the_hosts_proxy_is_named_as_the_guest_sees_it(given, seen):
    found = proxy.proxy_for_guest("host", {"HTTPS_PROXY": given})
    assert found.variables == {"https_proxy": seen, "HTTPS_PROXY": seen, "no_proxy": DIRECT, "NO_PROXY": DIRECT}
    assert "p%40s" not in repr(found)


@pytest.mark.parametrize(
    "text", ["http://", "ftp://x", "http://a:b:c", "http://x:99999", "a b", "http://$(id):1", "x\ny"]
)
def test_what_is_no_proxy_is_told_and_not_passed_on(text):
    found = proxy.proxy_for_guest("host", {"http_proxy": text})
    assert found.variables == {}
    assert found.remarks == ("http_proxy of this host is not the URL of a proxy, and is not passed on",)


def test_exceptions_are_passed_on_and_completed():
    found = proxy.proxy_for_guest("host", {"http_proxy": "p:1", "NO_PROXY": " .corp, 10.0.0.0/8 $(id) *.x;[::2]"})
    assert found.variables["no_proxy"] == f".corp,10.0.0.0/8,{DIRECT}"
    assert "https_proxy" not in found.variables


def test_without_a_proxy_nothing_is_said_and_none_is_none():
    assert proxy.proxy_for_guest("host", {"no_proxy": "x"}) == proxy.ProxySettings()
    assert proxy.proxy_for_guest("none", {"http_proxy": "p:1"}) == proxy.ProxySettings()
    assert proxy.proxy_for_guest("http://p:1", {"http_proxy": "q:1"}).variables["https_proxy"] == "http://p:1"


@pytest.mark.parametrize("text", ["", "no", "http://me:secret@proxy:1", "secret@proxy", "http://[:", "file:///x"])
def test_a_setting_that_is_not_valid_is_refused_without_showing_it(text):
    with pytest.raises(UsageError) as caught:
        proxy.proxy_setting(text)
    assert "secret" not in str(caught.value) + str(caught.value.hint)


@pytest.fixture
def guest(tmp_path):
    """Runs a script as a guest would, in a folder; returns what it changed."""
    (tmp_path / "etc/apt/apt.conf.d").mkdir(parents=True)

    def run(variables):
        text = proxy.script(variables).replace("/etc/", f"{tmp_path}/etc/")
        done = subprocess.run(
            ["/bin/sh", "-s"], input=f"set -u; changed=\n{text}\necho $changed", capture_output=True, text=True,
            timeout=20, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.strip()

    return run


def test_shells_services_and_apt_get_it_and_lose_it(tmp_path, guest):
    assert guest({}) == ""
    assert not (tmp_path / "etc/haulout").exists()
    url = "http://me:p%27%24(x);&w@10.0.2.2:3128"
    assert guest(proxy.proxy_for_guest("host", {"http_proxy": "http://me:p'$(x);&w@127.0.0.1:3128"}).variables) == "1"
    assert guest(proxy.proxy_for_guest("host", {"http_proxy": "http://me:p'$(x);&w@127.0.0.1:3128"}).variables) == ""
    login = f". {tmp_path}/etc/profile.d/haulout-proxy.sh; printf '%s ' $http_proxy $HTTP_PROXY $NO_PROXY"
    said = subprocess.run(["/bin/sh", "-uc", login], capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout == f"{url} {url} {DIRECT} "
    for scope in ("system", "user"):
        drop_in = tmp_path / f"etc/systemd/{scope}/podman.service.d/haulout-proxy.conf"
        assert drop_in.read_text() == f"[Service]\nEnvironmentFile=-{tmp_path}/etc/haulout/proxy.env\n"
    apt = tmp_path / "etc/apt/apt.conf.d/95haulout-proxy"
    assert apt.read_text() == f'Acquire::http::Proxy "{url}";\n'
    shown = [each for each in tmp_path.rglob("*") if each.is_file() and each.stat().st_mode & 0o007 and "me:p" in each.read_text()]  # fmt: skip
    assert shown == [], "no file that everybody reads has the password"

    assert guest(proxy.proxy_for_guest("host", {"https_proxy": "p:1"}).variables) == "1"
    assert apt.read_text() == 'Acquire::https::Proxy "http://p:1";\n'
    assert apt.stat().st_mode & 0o777 == 0o644
    assert guest({}) == "1"
    assert [each for each in (tmp_path / "etc").rglob("*") if each.is_file()] == []
