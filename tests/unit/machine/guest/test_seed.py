"""What a guest is told, in the forms of Ignition, cloud-init and systemd, as those programs themselves read it."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from tests.support.cloud_init import understood
from tests.support.peers import QEMU, peers
from tests.unit.machine.test_model import MACHINE

from haulout.errors import UsageError
from haulout.machine.guest import seed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILmtLi3PqAh4qjFuY9/8lTl7Z5Lp0p5bV9iCwkVkXH6O haulout-web"
THEIRS = b"""#cloud-config
users:
- name: alice
  ssh_authorized_keys: [ssh-ed25519 BBBB]
runcmd:
- touch /theirs
packages: [git]
write_files:
- {path: /etc/motd, content: "gr\xc3\xbc\xc3\x9f"}
"""
PARTS = (
    b'Content-Type: multipart/mixed; boundary="b"\nMIME-Version: 1.0\n\n--b\nContent-Type: text/cloud-config\n\n'
    b"packages: [git]\n--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--b--\n"
)
MOUNTS = {"/var/lib/data", "/var/lib/containers", "/home/core/.local/share/containers"}


def test_ignition_lets_both_users_in_and_mounts_the_data_at_podmans_places():
    document = json.loads(seed.ignition(MACHINE, KEY))
    assert {user["name"]: user["sshAuthorizedKeys"] for user in document["passwd"]["users"]} == {
        "core": [KEY],
        "root": [KEY],
    }
    assert document["storage"]["filesystems"][0]["wipeFilesystem"] is False
    assert document["storage"]["files"][0]["contents"] == {"source": "data:,web"}
    names = {unit["name"] for unit in document["systemd"]["units"]}
    assert {"var-lib-data.mount", "var-lib-containers.mount", "home-core-.local-share-containers.mount"} <= names


@pytest.mark.tools
@pytest.mark.parametrize(
    "added", [None, b'{"ignition": {"version": "3.3.0"}, "passwd": {"users": [{"name": "alice"}]}}']
)
def test_ignition_itself_takes_it(tmp_path, added):
    path = tmp_path / "config.ign"
    path.write_text(seed.ignition(MACHINE, KEY, added))
    validate = peers(QEMU).program("usr/bin/ignition-validate")
    done = subprocess.run([*validate, path], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    # It does say what is wrong.
    path.write_text(path.read_text().replace('"3.2.0"', '"3.2.x"'))
    assert subprocess.run([*validate, path], capture_output=True, timeout=20, check=False).returncode != 0
    if added is not None:
        (merged,) = json.loads(seed.ignition(MACHINE, KEY, added))["ignition"]["config"]["merge"]
        assert base64.b64decode(merged["source"].partition(",")[2]) == added


def read(folder, added=None):
    (folder / "user-data").write_text(seed.user_data(KEY, added))
    return understood(folder)


@pytest.mark.tools
def test_cloud_init_itself_is_told_the_same(tmp_path):
    found = read(tmp_path)
    assert found["kinds"] == ["text/cloud-config"]
    config = found["config"]
    assert {user["name"]: user["ssh_authorized_keys"] for user in config["users"]} == {"core": [KEY], "root": [KEY]}
    assert {mount[1] for mount in config["mounts"]} == MOUNTS
    assert json.loads(seed.meta_data(MACHINE)) == {"instance-id": MACHINE.id, "local-hostname": "web"}


@pytest.mark.tools
def test_what_a_user_adds_to_cloud_init_takes_nothing_away(tmp_path):
    config = read(tmp_path, THEIRS)["config"]
    assert [user["name"] for user in config["users"]] == ["core", "root", "alice"]
    assert len(config["runcmd"]) == 2
    assert {mount[1] for mount in config["mounts"]} == MOUNTS
    assert config["packages"] == ["git"]
    assert config["write_files"][0]["content"] == "grüß"


@pytest.mark.tools
@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (b"#!/bin/sh\necho hello\n", ["text/x-shellscript"]),
        (b"#cloud-boothook\n#!/bin/sh\necho hello\n", ["text/cloud-boothook"]),
        (
            PARTS,
            ["text/cloud-config", "text/x-shellscript"],
        ),
    ],
)
def test_all_that_user_data_may_be_can_be_added(tmp_path, text, kinds):
    seed.check_cloud_init(text, "FILE")
    assert read(tmp_path, text)["kinds"] == ["text/cloud-config", *kinds]


@pytest.mark.parametrize("text", [b"", b"users: []\n", b"\xff\xfe", b"\x7fELF", b"{}"])
def test_what_is_no_user_data_is_refused(text):
    with pytest.raises(UsageError, match="FILE is not user-data"):
        seed.check_cloud_init(text, "FILE")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"variant: fcos\nversion: 1.4.0\n",
        b"[]",
        b"null",
        b'{"ignition": {"version": "2.2.0"}}',
        b'{"ignition": 3}',
    ],
)
def test_what_is_no_ignition_is_refused(text):
    with pytest.raises(UsageError, match="FILE is not an Ignition"):
        seed.check_ignition(text, "FILE")


def test_credentials_make_core_and_let_both_in():
    texts = {}
    for each in seed.credentials(MACHINE, KEY):
        name, _, value = each.partition("=")
        texts[name.removeprefix("io.systemd.credential.binary:")] = base64.b64decode(value).decode()
    assert texts["ssh.authorized_keys.root"] == KEY
    assert texts["system.hostname"] == "web"
    assert "u core 1000" in texts["sysusers.extra"]
    assert base64.b64decode(texts["tmpfiles.extra"].split()[-1]).decode() == KEY
