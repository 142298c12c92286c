"""What a guest is told at its first boot: its users' key and its data disk. Pure.

Three ways, of which a guest takes the one it knows: Ignition by ``fw_cfg``, a cloud-init NoCloud disk, and a credential
of systemd (SMBIOS type 11). All say the same.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from haulout.machine.model import Machine

USER: Final = "core"
USER_ID: Final = 1000
DATA_LABEL: Final = "haulout-data"
DATA_DEVICE: Final = f"/dev/disk/by-id/virtio-{DATA_LABEL}"
DATA_FOLDER: Final = "/var/lib/data"
_BINDS: Final = (("root", "/var/lib/containers"), ("core", f"/home/{USER}/.local/share/containers"))


def ignition(key: str) -> str:
    """Return an Ignition configuration (version 3.2.0) that lets the holder of ``key`` in."""
    users = [{"name": name, "sshAuthorizedKeys": [key]} for name in (USER, "root")]
    disk = {"device": DATA_DEVICE, "format": "ext4", "label": DATA_LABEL, "wipeFilesystem": False}
    folders = [{"path": f"{DATA_FOLDER}/{name}", "user": {"name": name}} for name, _ in _BINDS]
    units = [_unit(DATA_DEVICE, DATA_FOLDER, "")]
    units += [
        _unit(f"{DATA_FOLDER}/{name}", place, "bind,x-systemd.requires-mounts-for=" + DATA_FOLDER)
        for name, place in _BINDS
    ]
    return json.dumps(
        {
            "ignition": {"version": "3.2.0"},
            "passwd": {"users": users},
            "storage": {"filesystems": [{**disk, "path": DATA_FOLDER}], "directories": folders},
            "systemd": {"units": [*units, {"name": "podman.socket", "enabled": True}]},
        }
    )


def _unit(what: str, where: str, options: str) -> dict[str, Any]:
    name = where.strip("/").replace("-", r"\x2d").replace("/", "-")
    lines = ["[Unit]", "Before=local-fs.target", "[Mount]", f"What={what}", f"Where={where}"]
    lines += [f"Options={options}"] if options else []
    return {
        "name": f"{name}.mount",
        "enabled": True,
        "contents": "\n".join([*lines, "[Install]", "WantedBy=local-fs.target", ""]),
    }


def user_data(key: str) -> str:
    """Return cloud-init's user-data; JSON is YAML."""
    core = {"name": USER, "uid": 1000, "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True}
    mounts = [[DATA_DEVICE, DATA_FOLDER, "ext4", "defaults,nofail,discard"]]
    mounts += [
        [f"{DATA_FOLDER}/{name}", place, "none", f"bind,nofail,x-systemd.requires-mounts-for={DATA_FOLDER}"]
        for name, place in _BINDS
    ]
    document = {
        "disable_root": False,
        "users": [{**core, "ssh_authorized_keys": [key]}, {"name": "root", "ssh_authorized_keys": [key]}],
        "fs_setup": [{"label": DATA_LABEL, "filesystem": "ext4", "device": DATA_DEVICE, "overwrite": False}],
        "mounts": mounts,
        # The folders are on the disk that was mounted just before.
        "runcmd": [
            f"cd {DATA_FOLDER} && mkdir -p root {USER} && chown {USER}: {USER}; mount -a; chown -R {USER}: /home/{USER}"
        ],
    }
    return f"#cloud-config\n{json.dumps(document, indent=1)}\n"


def meta_data(machine: Machine) -> str:
    """Return cloud-init's meta-data."""
    return json.dumps({"instance-id": machine.id, "local-hostname": machine.name}) + "\n"


def credential(key: str) -> str:
    """Return the SMBIOS string by which systemd lets root's key in (systemd.system-credentials(7))."""
    return f"io.systemd.credential.binary:ssh.authorized_keys.root={base64.b64encode(key.encode()).decode()}"
