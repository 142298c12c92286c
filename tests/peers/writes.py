"""Disks that other tools publish, pulled by Haulout."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from functools import partial
from typing import TYPE_CHECKING

from tests.peers.lab import ARCHITECTURES, NEW, Lab, Row
from tests.support.disks import sha256

import haulout
from haulout.resolve import Item, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RIGHT = "inspected and pulled"


def _files(lab: Lab) -> Path:
    """A folder with the disk, plain and compressed, under the titles they are published by."""
    folder = lab.place("files")
    folder.mkdir()
    shutil.copy(lab.new, folder / "disk.raw")
    subprocess.run(["zstd", "-q", folder / "disk.raw", "-o", folder / "disk.raw.zst"], check=True)
    return folder


def _read(lab: Lab, reference: str, *architectures: str, disk_type: str | None = None) -> str:
    """Inspect and pull; both must find the disk."""
    assert Role.DISK in _roles(haulout.inventory(reference).root), reference
    for architecture in architectures or ("x86_64",):
        found = haulout.resolve(reference, architecture=architecture, disk_type=disk_type)
        assert found.layer.size, reference
        target = lab.place("pulled")
        haulout.pull(reference, architecture=architecture, disk_type=disk_type, output=target, find_seeds=False)
        if sha256(target) != sha256(lab.new):
            return f"another disk for {architecture}"
    return RIGHT


def _roles(item: Item) -> set[str]:
    below = (_roles(other) for other in (*item.children, *item.referrers))
    return {item.role}.union(*below)


def _added(tool: str, lab: Lab) -> str:
    target, name, folder = f"{lab.fresh()}:{NEW}", lab.place(tool).name, _files(lab)
    lab.contain(tool, "manifest", "create", name)
    for architecture in ARCHITECTURES:
        # One file for both would be one manifest, which the list has once.
        file = shutil.copy(folder / "disk.raw.zst", folder / f"disk.{architecture}.raw.zst")
        lab.contain(
            tool, "manifest", "add", "--artifact", "--artifact-type=", "--os", "linux", "--arch", architecture,
            "--annotation", "disktype=applehv", name, file,
        )  # fmt: skip
    lab.contain(tool, "manifest", "push", "--all", name, f"docker://{target}")
    return _read(lab, target, *ARCHITECTURES, disk_type="applehv")


def _podman_artifact(lab: Lab) -> str:
    target = f"{lab.fresh()}:{NEW}"
    lab.contain("podman", "artifact", "add", target, _files(lab) / "disk.raw.zst")
    lab.contain("podman", "artifact", "push", target)
    return _read(lab, target)


def _oras_push(*options: str, name: str = "disk.raw.zst") -> Callable[[Lab], str]:
    def does(lab: Lab) -> str:
        target = f"{lab.fresh()}:{NEW}"
        lab.run("oras", "push", "--plain-http", *options, target, name, cwd=_files(lab))
        return _read(lab, target)

    return does


def _oras_index(lab: Lab) -> str:
    target, folder = lab.fresh(), _files(lab)
    for architecture in ARCHITECTURES:
        platform = f"--artifact-platform=linux/{architecture}"
        kind = "--artifact-type=application/vnd.example.disk"
        lab.run("oras", "push", "--plain-http", kind, platform, f"{target}:{architecture}", "disk.raw.zst", cwd=folder)
    lab.run("oras", "manifest", "index", "create", "--plain-http", f"{target}:{NEW}", *ARCHITECTURES)
    return _read(lab, f"{target}:{NEW}", *ARCHITECTURES)


def _oras_attach(lab: Lab) -> str:
    target, folder = f"{_container(lab)}:{NEW}", _files(lab)
    lab.run(
        "oras",
        "attach",
        "--plain-http",
        "--artifact-type=application/vnd.example.disk",
        target,
        "disk.raw.zst",
        cwd=folder,
    )
    return _read(lab, target)


def _oras_update(lab: Lab) -> str:
    """An index of ours to which oras adds another entry."""
    target, folder = lab.fresh(), _files(lab)
    haulout.push(f"{target}:{NEW}", lab.new, architecture="x86_64")
    lab.run(
        "oras",
        "push",
        "--plain-http",
        "--artifact-type=application/vnd.example",
        f"{target}:more",
        "disk.raw.zst",
        cwd=folder,
    )
    lab.run("oras", "manifest", "index", "update", "--plain-http", f"{target}:{NEW}", "--add", "more")
    return _read(lab, f"{target}:{NEW}", disk_type="applehv")


def _container(lab: Lab, member: str = "etc/motd", source: Path | None = None) -> str:
    """Publish a container image of one file."""
    target, layer = lab.fresh(), lab.place("layer.tar")
    with tarfile.open(layer, "w") as tar:
        tar.add(source or lab.folder / "home/.config/containers/policy.json", member)
    made = f"{target}:{NEW}"
    lab.run("crane", "append", "--oci-empty-base", "-f", layer, "-t", made)
    lab.run("crane", "mutate", "--set-platform", "linux/amd64", "-t", made, made)
    return target


def _crane_container_disk(lab: Lab) -> str:
    return _read(lab, f"{_container(lab, 'disk/disk.raw', lab.new)}:{NEW}")


def _crane_index(lab: Lab) -> str:
    target = lab.fresh()
    lab.run("crane", "index", "append", "-m", f"{lab.source}:{NEW}", "-t", f"{target}:{NEW}")
    return _read(lab, f"{target}:{NEW}", *ARCHITECTURES, disk_type="applehv")


def _umoci_container_disk(lab: Lab) -> str:
    layout = lab.place("layout")
    lab.run("umoci", "init", "--layout", layout)
    lab.run("umoci", "new", "--image", f"{layout}:{NEW}")
    lab.run("umoci", "insert", "--image", f"{layout}:{NEW}", lab.new, "/disk/disk.raw")
    return _read(lab, f"oci:{layout}:{NEW}")


_TYPE = "--artifact-type=application/vnd.example.disk"
ROWS = [
    Row(
        "writes",
        "buildah",
        "`buildah manifest add --artifact`, as Podman machine's images are made",
        partial(_added, "buildah"),
        RIGHT,
    ),
    Row("writes", "podman", "`podman manifest add --artifact`", partial(_added, "podman"), RIGHT),
    Row("writes", "podman", "`podman artifact add`, `push`", _podman_artifact, RIGHT),
    Row("writes", "oras", "`oras push disk.raw.zst`", _oras_push(), RIGHT),
    Row("writes", "oras", "`oras push disk.raw`", _oras_push(_TYPE, name="disk.raw"), RIGHT),
    Row("writes", "oras", "`oras push --image-spec v1.0`", _oras_push("--image-spec=v1.0"), RIGHT),
    Row("writes", "oras", "`oras push --artifact-platform`, `manifest index create`", _oras_index, RIGHT),
    Row("writes", "oras", "`oras manifest index update --add`, to a tag of Haulout", _oras_update, RIGHT),
    Row("writes", "oras", "`oras attach`, to a container image", _oras_attach, RIGHT),
    Row("writes", "crane", "`crane append`, a container disk", _crane_container_disk, RIGHT),
    Row("writes", "crane", "`crane index append`, of a tag of Haulout", _crane_index, RIGHT),
    Row("writes", "umoci", "`umoci insert`, a container disk", _umoci_container_disk, RIGHT),
]
