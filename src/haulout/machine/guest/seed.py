"""What a guest is told at its first boot: its name, its users' key, its data disk, and what the user adds. Pure.

Three ways, of which a guest takes those it knows: Ignition by ``fw_cfg``, a cloud-init NoCloud disk, and credentials of
systemd (SMBIOS type 11). All say the same.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import UsageError

if TYPE_CHECKING:
    from email.message import Message

    from haulout.machine.model import Machine

USER: Final = "core"
USER_ID: Final = 1000
DATA_LABEL: Final = "haulout-data"
DATA_DEVICE: Final = f"/dev/disk/by-id/virtio-{DATA_LABEL}"
DATA_FOLDER: Final = "/var/lib/data"
BINDS: Final = (("root", "/var/lib/containers"), (USER, f"/home/{USER}/.local/share/containers"))
FORMAT: Final = (
    # Blank, and not merely of a kind that is not known here.
    f'disk={DATA_DEVICE}; [ ! -b "$disk" ] || [ "$(head -c 1048576 "$disk" | tr -d "\\0" | wc -c)" != 0 ] || '
    f'mkfs.ext4 -q -F -L {DATA_LABEL} -E lazy_itable_init=1,nodiscard "$disk"'
)
"""Shell: make a file system on a data disk that was never written to."""
CLOUD_INIT: Final = "user-data.added"
IGNITION: Final = "ignition.added"
"""Names of the files in which a machine keeps what its user adds to the two."""
_MERGE: Final = "list(append)+dict(no_replace,recurse_list)+str()"
_BEGINNINGS: Final = ("#cloud-", "#!", "#include", "#part-handler", "## template:", "Content-Type:", "MIME-Version:")


def check_cloud_init(text: bytes, name: str) -> None:
    """Check that a file is user-data, as far as its beginning tells.

    Raises:
        UsageError: it is not.
    """
    try:
        begins = text.decode().startswith(_BEGINNINGS)
    except UnicodeDecodeError:
        begins = False
    if not begins:
        raise UsageError(
            f"{name} is not user-data of cloud-init", hint="its first line says what it is: #cloud-config, or #!/bin/sh"
        )


def check_ignition(text: bytes, name: str) -> None:
    """Check that a file is an Ignition configuration of version 3.

    Raises:
        UsageError: it is not.
    """
    try:
        version = str(json.loads(text)["ignition"]["version"])
    except (ValueError, KeyError, TypeError):
        version = ""
    if not version.startswith("3."):
        raise UsageError(
            f"{name} is not an Ignition configuration of version 3",
            hint="butane translates one that is written in YAML",
        )


SEED_FILES: Final = {CLOUD_INIT: check_cloud_init, IGNITION: check_ignition}
"""What a user may add, and what checks it."""


def ignition(machine: Machine, key: str, added: bytes | None = None) -> str:
    """Return an Ignition configuration (specification 3.2.0) that lets the holder of ``key`` in.

    Args:
        machine: gives the host name.
        key: a public key of ssh.
        added: of the user, which is merged into ours, and wins.
    """
    users = [{"name": name, "sshAuthorizedKeys": [key]} for name in (USER, "root")]
    disk = {"device": DATA_DEVICE, "format": "ext4", "label": DATA_LABEL, "wipeFilesystem": False}
    folders = [{"path": f"{DATA_FOLDER}/{name}", "user": {"name": name}} for name, _ in BINDS]
    name = {"path": "/etc/hostname", "mode": 0o644, "overwrite": True, "contents": {"source": f"data:,{machine.name}"}}
    units = [_unit(DATA_DEVICE, DATA_FOLDER, "")]
    units += [
        _unit(f"{DATA_FOLDER}/{name}", place, "bind,x-systemd.requires-mounts-for=" + DATA_FOLDER)
        for name, place in BINDS
    ]
    about: dict[str, Any] = {"version": "3.2.0"}
    if added is not None:
        source = f"data:;base64,{base64.b64encode(added).decode()}"
        about["config"] = {"merge": [{"source": source}]}
    return json.dumps(
        {
            "ignition": about,
            "passwd": {"users": users},
            "storage": {"filesystems": [{**disk, "path": DATA_FOLDER}], "directories": folders, "files": [name]},
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


def user_data(key: str, added: bytes | None = None) -> str:
    """Return cloud-init's user-data.

    Args:
        key: a public key of ssh.
        added: of the user: it is a part of its own, whose lists are added to ours.
    """
    core = {"name": USER, "uid": USER_ID, "shell": "/bin/bash", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True}
    mounts = [[DATA_DEVICE, DATA_FOLDER, "ext4", "defaults,nofail,discard"]]
    mounts += [
        [f"{DATA_FOLDER}/{name}", place, "none", f"bind,nofail,x-systemd.requires-mounts-for={DATA_FOLDER}"]
        for name, place in BINDS
    ]
    document = {
        "disable_root": False,
        "users": [{**core, "ssh_authorized_keys": [key]}, {"name": "root", "ssh_authorized_keys": [key]}],
        # Before the disks are mounted. Its own module, disk_setup, takes a disk with another label for a blank one.
        "bootcmd": [FORMAT],
        "mounts": mounts,
        # The folders are on the disk that was mounted just before.
        "runcmd": [
            f"cd {DATA_FOLDER} && mkdir -p root {USER} && chown {USER}: {USER}; mount -a; chown -R {USER}: /home/{USER}"
        ],
    }
    # JSON is YAML.
    ours = f"#cloud-config\n{json.dumps(document, indent=1)}\n"
    if added is None:
        return ours
    import email  # noqa: PLC0415 - these three take a fifth of the time of list, which makes no seed
    from email.mime.multipart import MIMEMultipart  # noqa: PLC0415
    from email.mime.text import MIMEText  # noqa: PLC0415

    both = MIMEMultipart(boundary="==haulout==")
    both.attach(MIMEText(ours, "cloud-config", "utf-8"))
    text = added.decode()
    theirs: Message = email.message_from_string(text)
    if not theirs.is_multipart():
        # What it is, cloud-init finds by its first line.
        theirs = MIMEText(text, "plain", "utf-8")
        theirs["Merge-Type"] = _MERGE
    both.attach(theirs)
    return both.as_string()


def meta_data(machine: Machine) -> str:
    """Return cloud-init's meta-data."""
    return json.dumps({"instance-id": machine.id, "local-hostname": machine.name}) + "\n"


def credentials(machine: Machine, key: str) -> list[str]:
    """Return the SMBIOS strings by which systemd makes user and host name (systemd.system-credentials(7))."""
    encoded = base64.b64encode(key.encode()).decode()
    home = f"/home/{USER}"
    texts = {
        "ssh.authorized_keys.root": key,
        "system.hostname": machine.name,
        "sysusers.extra": f'u {USER} {USER_ID} "{USER}" {home} /bin/bash\n',
        "tmpfiles.extra": f"d {home} - {USER} {USER}\nd {home}/.ssh 0700 {USER} {USER}\n"
        f"f~ {home}/.ssh/authorized_keys 0600 {USER} {USER} - {encoded}\n",
    }
    return [
        f"io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"
        for name, text in texts.items()
    ]
