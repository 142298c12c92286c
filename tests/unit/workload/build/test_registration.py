"""Registrations, and the URLs that a passphrase may go to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import InvalidWorkload, UsageError
from haulout.workload import krun
from haulout.workload.build.registration import Registration, check_url, parse_registration


@pytest.mark.parametrize(
    "url", ["https://b.example.com", "https://b.example.com:8443/x/", "http://127.0.0.1:1", "http://[::1]/"]
)
def test_urls_a_passphrase_may_go_to(url):
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://b.example.com",
        "ftp://x",
        "b.example.com",
        "https://u@b",
        "https://:token@b",
        "https://@b",
        "https://b?x",
        "https://[",
        "https://b:x",
        "https://ä",
    ],
)
def test_urls_a_passphrase_may_not_go_to(url):
    with pytest.raises(UsageError):
        check_url(url)


@pytest.mark.parametrize("url", ["https://user:hush@b", "https://:hush@b", "ftp://hush@b:x", "user:hush@b"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="holds credentials") as caught:
        check_url(url)
    assert "hush" not in f"{caught.value} {caught.value.hint}"


def test_plain_http_elsewhere_only_when_asked():
    assert check_url("http://b.example.com", plain=True)


@pytest.mark.parametrize("url", ["https://u:s3cret@broker.example.com/", "https://s3cret@[x", "ftp://:s3cret@x"])
def test_what_a_url_says_of_its_user_is_not_repeated(url):
    with pytest.raises(UsageError, match="holds credentials") as caught:
        check_url(url)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=128),
    st.sampled_from(krun.Tee),
    st.sampled_from([32, 48, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.booleans(),
)
def test_a_registration_is_read_as_it_was_written(workload, tee, measurement, passphrase, es):
    one = Registration.of(workload, tee, measurement, passphrase.encode(), es=es)
    assert parse_registration(one.to_bytes()) == one


def test_a_registration_of_mkcw_is_read():
    # As buildah writes it: Go's encoder, in the order of its members.
    tee_config = '{"flags":{"bits":63},"minfw":{"major":1,"minor":51}}'
    data = {"workload_id": "w", "launch_measurement": "AB" * 48, "tee_config": tee_config, "passphrase": "p"}
    found = parse_registration(json.dumps(data).encode())
    assert found == Registration("w", b"\xab" * 48, "p", 63, (1, 51))
    assert "'p'" not in repr(found)


def registered(**changes):
    config = {"flags": {"bits": 3}, "minfw": {"major": 0, "minor": 0}} | changes.pop("config", {})
    values = {"workload_id": "w", "launch_measurement": "ab" * 48, "passphrase": "p", "tee_config": json.dumps(config)}
    return json.dumps(values | changes).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "not a JSON object"),
        (b" " * 16385, "at most 16384"),
        (registered(workload_id=""), "at workload_id: must not be empty"),
        (registered(workload_id=1), "at workload_id: expected one line"),
        (registered(passphrase=""), "at passphrase: expected text"),
        (registered(passphrase=None), "at passphrase: expected text"),
        (registered(launch_measurement="zz" * 48), "64, 96 or 128"),
        (registered(launch_measurement="ab"), "64, 96 or 128"),
        (registered(launch_measurement=" ".join(["ab"] * 32)), "64, 96 or 128"),
        (registered(tee_config="x"), "at tee_config: not a JSON object"),
        (registered(config={"flags": 3}), "flags: expected a table"),
        (registered(config={"flags": {"bits": True}}), "bits: expected a whole number"),
        (registered(config={"flags": {"bits": 1 << 32}}), "bits: expected a whole number"),
        (registered(config={"minfw": {"major": 256, "minor": 0}}), "major: expected a whole number from 0 to 255"),
        (registered(config={"minfw": {"major": 1}}), "minor: is missing"),
    ],
)
def test_registrations_that_are_refused(data, reason):
    with pytest.raises(InvalidWorkload, match=reason) as refused:
        parse_registration(data)
    assert refused.value.rule == "registration"


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda data: b'{"tee_config":"' + data)))
def test_registrations_of_strangers_raise_declared_errors_alone(data):
    with pytest.raises(InvalidWorkload):
        parse_registration(data)
