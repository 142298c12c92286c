"""What a guest is told, in the forms of Ignition, cloud-init and systemd."""

from __future__ import annotations

import base64
import json

from tests.unit.machine.test_model import MACHINE

from haulout.machine import seed

KEY = "ssh-ed25519 AAAA haulout-web"


def test_ignition_lets_both_users_in_and_mounts_the_data_at_podmans_places():
    document = json.loads(seed.ignition(KEY))
    assert {user["name"]: user["sshAuthorizedKeys"] for user in document["passwd"]["users"]} == {
        "core": [KEY],
        "root": [KEY],
    }
    assert document["storage"]["filesystems"][0]["wipeFilesystem"] is False
    names = {unit["name"] for unit in document["systemd"]["units"]}
    assert {"var-lib-data.mount", "var-lib-containers.mount", "home-core-.local-share-containers.mount"} <= names


def test_cloud_init_is_told_the_same():
    first, _, rest = seed.user_data(KEY).partition("\n")
    document = json.loads(rest)
    assert first == "#cloud-config"
    assert {user["name"]: user["ssh_authorized_keys"] for user in document["users"]} == {"core": [KEY], "root": [KEY]}
    assert document["fs_setup"][0]["overwrite"] is False
    assert {mount[1] for mount in document["mounts"]} == {
        *("/var/lib/data", "/var/lib/containers", "/home/core/.local/share/containers"),
    }
    assert json.loads(seed.meta_data(MACHINE)) == {"instance-id": MACHINE.id, "local-hostname": "web"}


def test_the_credential_is_roots_key():
    name, _, value = seed.credential(KEY).partition("=")
    assert name == "io.systemd.credential.binary:ssh.authorized_keys.root"
    assert base64.b64decode(value).decode() == KEY
