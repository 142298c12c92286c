"""Certificates for guests: what is passed on, what is told, and the script that installs them, run in a folder."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trustme

from haulout.errors import InvalidFile, NotFoundError, StorageError
from haulout.machine.guest import trust

ONE, TWO = (trustme.CA(organization_name=name) for name in ("One", "Two"))
PEM, OTHER = (each.cert_pem.bytes().decode() for each in (ONE, TWO))


def read(path, text):
    path.write_text(text)
    return trust.read_authorities([str(path)])


def test_the_certificates_of_a_file_are_read_and_nothing_else_of_it(tmp_path):
    found = read(tmp_path / "ca.pem", f"the first\n{PEM}\nthe second\r\n{OTHER.replace(chr(10), chr(13) + chr(10))}")
    assert (found.certificates, found.remarks) == ((PEM, OTHER), ())
    twice = trust.read_authorities([str(tmp_path / "ca.pem"), str(tmp_path / "ca.pem")])
    assert twice.certificates == (PEM, OTHER)


def test_a_private_key_is_told_and_never_passed_on(tmp_path):
    key = ONE.private_key_pem.bytes().decode()
    found = read(tmp_path / "both.pem", key + PEM)
    assert found.certificates == (PEM,)
    assert found.remarks == (f"{tmp_path}/both.pem holds a private key, too; it stays on this host",)
    assert not any(line in trust.script(found.certificates) for line in key.splitlines()[1:-1])
    with pytest.raises(InvalidFile, match="has no certificate"):
        read(tmp_path / "key.pem", key)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no certificate in PEM"),
        ("rubbish \0 é", "has no certificate in PEM"),
        (PEM.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "has no certificate in PEM"),
        (PEM[: len(PEM) // 2], "certificate 1 is damaged"),
        (PEM + OTHER[:-30], "certificate 2 is damaged"),
        (PEM + PEM.replace(PEM.splitlines()[2], "A" * 64), "certificate 2 is damaged"),
        (PEM + PEM.replace(PEM.splitlines()[2], "$(reboot)"), "certificate 2 is damaged"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, text, says):
    with pytest.raises(InvalidFile, match=says) as caught:
        read(tmp_path / "ca.pem", text)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        trust.read_authorities([str(tmp_path / "none.pem")])
    with pytest.raises(StorageError):
        trust.read_authorities([str(tmp_path)])


def test_what_has_expired_is_told_and_left_out(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_text(PEM)
    monkeypatch.setattr("time.time", lambda: 1e11)
    with pytest.raises(InvalidFile, match="every certificate has expired"):
        trust.read_authorities([str(tmp_path / "ca.pem")])
    monkeypatch.setattr(trust, "_BUNDLES", (str(tmp_path / "none"), str(tmp_path / "ca.pem")))
    assert trust.read_authorities(["host"]) == trust.Authorities(), "of the host's own, nothing is remarked"


def test_a_certificate_that_is_no_authority_is_told(tmp_path):
    leaf = ONE.issue_cert("server.example").cert_chain_pems[0].bytes().decode()
    found = read(tmp_path / "leaf.pem", leaf)
    assert found.certificates == (leaf,)
    assert "not that of an authority" in found.remarks[0]


def test_a_host_without_a_bundle_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "_BUNDLES", (str(tmp_path / "none"),))
    with pytest.raises(NotFoundError, match="this host has no file of CA certificates"):
        trust.read_authorities(["host"])


@pytest.fixture
def guest(tmp_path):
    """Runs a script as a guest would, in a folder: returns what it printed and how often stores were updated."""

    def run(certificates, tool="update-ca-certificates"):
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        if tool:
            (programs / tool).write_text(f"#!/bin/sh\necho updated >>{tmp_path}/calls\n")
            (programs / tool).chmod(0o755)
        text = trust.script(certificates).replace("/etc/", f"{tmp_path}/etc/").replace("/usr/", f"{tmp_path}/usr/")
        done = subprocess.run(
            ["/bin/sh", "-s"], input=f"set -u; changed=\n{text}\necho changed=$changed", capture_output=True,
            text=True, env={"PATH": f"{programs}:/usr/bin:/bin"}, timeout=20, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        calls = (tmp_path / "calls").read_text().count("updated") if (tmp_path / "calls").exists() else 0
        return done.stdout.split(), calls

    return run


@pytest.mark.parametrize(
    ("tool", "folder"),
    [
        ("update-ca-certificates", "usr/local/share/ca-certificates"),
        ("update-ca-trust", "etc/pki/ca-trust/source/anchors"),
    ],
)
def test_a_guest_gets_them_once_and_loses_them_when_they_are_unset(tmp_path, guest, tool, folder):
    if tool == "update-ca-trust" and not sys.platform.startswith("linux"):
        pytest.skip("needs a system without update-ca-certificates in /usr/bin")
    assert guest([], tool) == (["changed="], 0), "nothing to do costs nothing"
    assert guest([PEM, OTHER], tool) == (["changed=1"], 1)
    assert {each.read_text() for each in (tmp_path / folder).iterdir()} == {PEM, OTHER}
    assert guest([PEM, OTHER], tool) == (["changed="], 1)
    assert guest([OTHER], tool) == (["changed=1"], 2)
    assert [each.read_text() for each in (tmp_path / folder).iterdir()] == [OTHER]
    assert guest([], tool) == (["changed=1"], 3)
    assert list((tmp_path / folder).iterdir()) == []


def test_what_the_guest_trusts_by_itself_is_not_installed_twice(tmp_path, guest):
    own = tmp_path / "usr/share/ca-certificates/mozilla/One.crt"
    own.parent.mkdir(parents=True)
    own.write_text(PEM)
    guest([PEM, OTHER])
    assert [each.read_text() for each in (tmp_path / "usr/local/share/ca-certificates").iterdir()] == [OTHER]


def test_a_guest_without_a_store_says_so_each_time(guest):
    for _ in range(2):
        assert guest([PEM], None) == (["ca-refused", "changed=1"], 0)
