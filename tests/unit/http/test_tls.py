"""Certificates for a host: certs.d as containers-certs.d(5) has it, and files that are none."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.servers import issue_tls
from tests.support.simulators.registry import Response, ScriptedServer

from haulout.emulator import authorities
from haulout.errors import RegistryError, StorageError, UnreachableError, UsageError
from haulout.http import Client, HttpOptions
from haulout.http.tls import TlsProfile, profile_for

HOST = "registry.example:5000"


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "containers/certs.d" / HOST
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def authority():
    made = authorities.issue("Test", authorities.p384_key(), datetime.now(UTC), authority=True, path_length=0)
    return made.pem(), made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def found(tmp_path, host=HOST, **more):
    return profile_for(host, {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/nowhere"}, **more)


def test_authorities_and_the_first_pair_are_found(tmp_path, place):
    for name in ("b.crt", "a.crt", "z.cert", "z.key", "c.cert", "c.key", "README"):
        (place / name).touch()
    extra = Path("extra.pem")
    assert found(tmp_path, ca_file=extra) == TlsProfile(
        verify=True, authorities=(extra, place / "a.crt", place / "b.crt"), client=(place / "c.cert", place / "c.key")
    )
    assert found(tmp_path, host="registry.example", insecure=True) == TlsProfile(verify=False)


def test_without_a_folder_of_its_own_the_home_counts(tmp_path):
    folder = tmp_path / ".config/containers/certs.d" / HOST
    folder.mkdir(parents=True)
    (folder / "a.crt").touch()
    assert profile_for(HOST, {"HOME": str(tmp_path)}).authorities == (folder / "a.crt",)


@pytest.mark.parametrize(("name", "partner"), [("a.cert", ".key"), ("a.key", ".cert")])
def test_half_a_pair_is_an_error(tmp_path, place, name, partner):
    (place / name).touch()
    with pytest.raises(UsageError, match=f"{name} has no {partner} file beside it"):
        found(tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error_and_a_file_in_its_place_is_none(tmp_path, place, monkeypatch):
    place.rmdir()
    place.touch()
    assert found(tmp_path).authorities == ()

    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StorageError, match="permission denied"):
        found(tmp_path)


def test_the_context_trusts_and_presents_what_was_found(tmp_path, authority):
    certificate, key = tmp_path / "a.cert", tmp_path / "a.key"
    certificate.write_bytes(authority[0])
    key.write_bytes(authority[1])
    context = TlsProfile(authorities=(certificate,), client=(certificate, key)).context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert "Test" in str(context.get_ca_certs())
    context = TlsProfile(verify=False).context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_hold_no_certificate_are_named(tmp_path, content):
    file = tmp_path / "a.crt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.crt is not a readable PEM certificate|no such file: .*a\.crt"):
        TlsProfile(authorities=(file,)).context()
    with pytest.raises(UsageError, match=r"a\.crt and .*a\.crt are not a readable certificate and key"):
        TlsProfile(client=(file, file)).context()


def test_an_authority_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UsageError) as error:
        TlsProfile(authorities=(tmp_path / "none.pem",)).context()
    assert str(error.value) == f"no such file: {tmp_path}/none.pem"


def test_a_file_with_the_wrong_authority_is_named(tmp_path):
    right, wrong = issue_tls(tmp_path / "right"), issue_tls(tmp_path / "wrong")
    with ScriptedServer(lambda _: Response(200), tls=right) as server:
        options = HttpOptions(attempts=1, ca_file=wrong.ca)
        with Client(options, environment={"HOME": "/nonexistent"}) as client, pytest.raises(UnreachableError) as error:
            client.stream(f"https://{server.host}/", what="a thing", most=10)
    assert "is not trusted" in str(error.value)
    assert error.value.hint == f"{wrong.ca} does not hold the authority of this certificate"


@pytest.mark.parametrize(
    "body",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
    ],
)
def test_plain_http_to_a_port_of_https_is_said_to_be_that(body):
    with ScriptedServer(lambda _: Response(400, {"Content-Type": "text/html"}, body)) as server:
        with Client(HttpOptions(attempts=1), environment={}) as client, pytest.raises(RegistryError) as error:
            client.stream(f"http://{server.host}/", what="a thing", most=10)
        assert str(error.value) == f"a thing: {server.host} speaks HTTPS on this port"
        assert error.value.hint == "leave --plain-http out"
