"""Redirects: how many, and where to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from haulout.errors import DeniedError, RegistryError
from haulout.http.origin import Origin
from haulout.http.redirects import MAX_REDIRECTS, Hops, Targets, location, resolve_location
from haulout.http.tls import TlsProfile

HERE = Origin("https", "registry.example", 443)


URL = "https://registry.example/v2/"


class Answer:
    """What is read of a reply."""

    def __init__(self, target):
        self.url = URL
        self.headers = {} if target is None else {"location": target}
        self.closed = False

    def close(self):
        self.closed = True


def reply(target=None) -> Any:
    return Answer(target)


@pytest.fixture
def addresses(monkeypatch):
    """What names resolve to; others do not resolve."""
    known: dict[str, str] = {}
    asked: list[str] = []

    def resolve(name, _port, **_more):
        asked.append(name)
        if name not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known, asked


def test_each_hop_is_closed_and_there_is_a_last_one():
    hops = Hops("blob", "registry.example")
    for number in range(MAX_REDIRECTS):
        answer = reply(f"/there/{number}")
        assert hops.next(answer) == f"https://registry.example/there/{number}"
        assert answer.closed
    with pytest.raises(RegistryError, match=f"blob: registry.example redirects more than {MAX_REDIRECTS} times"):
        hops.next(reply("/there"))


def test_a_location_is_taken_as_it_is_written():
    assert location(reply("https://cdn.example/a%2Fb?x=%41")) == "https://cdn.example/a%2Fb?x=%41"
    with pytest.raises(RegistryError, match="redirects without saying where"):
        location(reply())
    with pytest.raises(RegistryError, match="not a usable URL"):
        resolve_location(URL, "https://[::1/")


def test_an_origin_is_vetted_once(addresses):
    known, asked = addresses
    known["cdn.example"] = "8.8.8.8"
    met: list[Origin] = []

    def profile(origin):
        met.append(origin)
        return TlsProfile()

    targets, there = Targets(profile), Origin("https", "cdn.example", 443)
    assert targets.profile(HERE, there, "registry.example") is targets.profile(HERE, there, "registry.example")
    assert (met, asked) == ([there], ["cdn.example"])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "::ffff:10.0.0.1", "fe80::1"]
)
def test_a_name_that_leads_into_the_own_network_is_refused(addresses, address):
    known, _ = addresses
    known["cdn.example"] = address
    with pytest.raises(
        DeniedError, match=r"registry\.example redirects into this machine's own network, to cdn\.example"
    ):
        Targets(lambda _: TlsProfile()).profile(HERE, Origin("https", "cdn.example", 443), "registry.example")


@pytest.mark.usefixtures("addresses")
def test_a_name_that_does_not_resolve_counts_as_public_and_a_downgrade_is_refused():
    targets = Targets(lambda _: TlsProfile())
    assert targets.profile(HERE, Origin("https", "cdn.example", 443), "registry.example") == TlsProfile()
    with pytest.raises(DeniedError, match=r"from https to http://cdn\.example; content is not fetched without TLS"):
        targets.profile(HERE, Origin("http", "cdn.example", 80), "registry.example")


def test_within_the_own_network_redirects_may_lead_anywhere(addresses):
    addresses[0]["inner.example"] = "10.0.0.1"
    here = Origin("http", "127.0.0.1", 5000)
    there = Origin("http", "inner.example", 80)
    assert Targets(lambda _: TlsProfile()).profile(here, there, "127.0.0.1:5000") == TlsProfile()


@pytest.mark.parametrize("allowed", ["10.1.2.3", "10.1.2.3:8080"])
def test_the_user_may_allow_a_host_inside(allowed):
    public, inside = Origin("https", "8.8.8.8", 443), Origin("http", "10.1.2.3", 8080)
    targets = Targets(lambda _: TlsProfile(), (allowed,))
    assert targets.profile(public, inside, "8.8.8.8") == TlsProfile()
    with pytest.raises(DeniedError) as error:
        Targets(lambda _: TlsProfile(), ("10.1.2.4",)).profile(public, inside, "8.8.8.8")
    assert error.value.hint == "if 10.1.2.3:8080 is to be trusted, use --allow-host 10.1.2.3:8080"
