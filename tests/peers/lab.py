"""Where peers meet: a registry with two versions of six disks that Haulout pushed, and the tools, with a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tests.support.disks import raw_disk, sha256
from tests.support.peers import Ended, Peers
from tests.support.servers import Server, docker_registry

import haulout
from haulout.oci import Index, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARCHITECTURES = ("x86_64", "aarch64")
OLD, NEW = "5.0", "5.1"


@dataclass(frozen=True)
class Row:
    """One line of the table in docs/other-tools.md, and the test of it."""

    section: Literal["reads", "copies", "writes"]
    tool: str
    command: str
    does: Any
    """Called with the lab; returns what happened, in the words of the table."""
    outcome: str
    """What is to happen."""


@dataclass
class Lab:
    """The registry holds ``machine:5.0`` and ``machine:5.1``, two architectures for three hypervisors, with deltas between."""

    peers: Peers
    server: Server
    folder: Path
    environment: dict[str, str]
    old: Path
    new: Path
    layout: Path
    """The two versions in an image layout, for Apple's hypervisor alone."""
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def source(self) -> str:
        return f"{self.server.host}/machine"

    def fresh(self) -> str:
        """A repository that nothing was pushed to."""
        return f"{self.server.host}/copy-{next(self.numbers)}"

    def place(self, name: str = "at") -> Path:
        """A path below the lab's folder where nothing is."""
        return self.folder / f"{name}-{next(self.numbers)}"

    def attempt(self, tool: str, *arguments: object, cwd: Path | None = None) -> Ended:
        return self.peers.attempt(tool, *arguments, cwd=cwd or self.folder, **self.environment)

    def run(self, tool: str, *arguments: object, cwd: Path | None = None) -> str:
        return self.peers.run(tool, *arguments, cwd=cwd or self.folder, **self.environment)

    def contained(self, tool: str, *arguments: object) -> Ended:
        """Run ``podman`` or ``buildah`` on a storage of this lab."""
        storage = ("--root", f"{self.folder}/graph", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs")
        return self.attempt(tool, *storage, *arguments)

    def contain(self, tool: str, *arguments: object) -> str:
        done = self.contained(tool, *arguments)
        assert done.code == 0, f"{tool} {arguments}: {done.err}"
        return done.out

    def index(self, reference: str) -> Index:
        return Index.parse(self.run("crane", "manifest", reference).encode(), reference)

    def entry(self, architecture: str = "x86_64", disk_type: str = "applehv", tag: str = NEW) -> str:
        """The reference of one disk by its digest."""
        (found,) = [
            entry.digest
            for entry in self.index(f"{self.source}:{tag}").manifests
            if entry.platform and entry.platform.architecture == architecture
            and entry.annotations.get("disktype") == disk_type
        ]  # fmt: skip
        return f"{self.source}@{found}"

    def blob(self, entry: str) -> str:
        """The digest of the one blob of a disk."""
        (layer,) = Manifest.parse(self.run("crane", "manifest", entry).encode(), entry).layers
        return str(layer.digest)

    def pulls(
        self, reference: str, architecture: str = "x86_64", disk_type: str | None = "applehv", **options: Any
    ) -> Any:
        """Pull without any seed but those named, and check the bytes of raw disks."""
        target = self.place("pulled")
        options = {"find_seeds": False} | options
        done = haulout.pull(reference, architecture=architecture, disk_type=disk_type, output=target, **options)
        if done.format == "raw":
            assert sha256(target) == sha256(self.new), reference
        target.unlink()
        return done

    def kept(self, reference: str, disk_types: tuple[str, ...] = ("qemu", "hyperv")) -> str:
        """What a copy of the new version kept, by pulling from it: whole, as an update, as an update by delta."""
        for architecture in ARCHITECTURES:
            for disk_type in disk_types:
                assert self.pulls(reference, architecture, disk_type).status == "pulled"
            self.pulls(reference, architecture)
        update = self.pulls(reference, seeds=[self.old], use_deltas=False)
        if update.verified == "blob":
            return "disks"
        assert update.verified == "frames"
        assert update.moved.fetched < update.blob.size / 2, update.moved
        delta = self.pulls(reference, seeds=[self.old]).moved.delta
        return "disks, tables of contents, deltas" if delta else "disks, tables of contents"

    def machine_init(self, reference: str) -> Ended:
        """``podman machine init`` as an ordinary user, in a home of its own."""
        home = self.place("home")
        for name in ("containers", "data", "run", "tmp"):
            (home / name).mkdir(parents=True)
        (home / "containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        environment = self.environment | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "XDG_DATA_HOME": f"{home}/data",
            "XDG_RUNTIME_DIR": f"{home}/run",
            "TMPDIR": f"{home}/tmp",
        }
        # podman machine refuses to run as root.
        user = ["unshare", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
        if user and subprocess.run([*user, "true"], check=False, capture_output=True).returncode:
            pytest.skip("no other user can be had: unshare is not permitted")
        argv = [
            *user,
            *self.peers.argv("podman"),
            "machine",
            "init",
            "--tls-verify=false",
            "--image",
            reference,
            "peer",
        ]
        done = subprocess.run(
            argv, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False, cwd=home
        )
        ended = Ended(done.returncode, done.stdout.strip(), done.stderr.strip())
        if ended.code == 0:
            (self.folder / "machine").unlink(missing_ok=True)
            (made,) = (home / "data/containers/podman/machine/qemu").glob("peer-*.qcow2")
            made.rename(self.folder / "machine")
        return ended


@contextmanager
def lab(folder: Path, tools: Peers) -> Iterator[Lab]:
    """Set all up for as long as the block lasts."""
    folder.mkdir(exist_ok=True)
    old = raw_disk(folder / "old.raw", data_mib=2, size_mib=8)
    new = folder / "new.raw"
    changed = bytearray(old.read_bytes())
    changed[(1 << 20) + 50_000 : (1 << 20) + 50_100] = bytes(100)
    new.write_bytes(changed)
    with (
        docker_registry(folder) as server,
        pytest.MonkeyPatch.context() as patch,
        # podman refuses a run root of more than 50 characters.
        tempfile.TemporaryDirectory(prefix="peers-") as short,
    ):
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        config = folder / "home/.config/containers"
        config.mkdir(parents=True)
        (config / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (config / "registries.conf").write_text(f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n')
        helpers = [f"{tools.root}/usr/{name}" for name in ("libexec/podman", "lib/podman", "bin")]
        (config / "containers.conf").write_text(
            f"[engine]\nhelper_binaries_dir={json.dumps([*helpers, '/usr/libexec', '/usr/lib/qemu'])}\n"
            f"conmon_path={json.dumps([f'{tools.root}/usr/bin/conmon'])}\n"
        )
        environment = {
            "CONTAINERS_CONF": str(config / "containers.conf"),
            "HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(config.parent),
            "XDG_RUNTIME_DIR": short,
            "CONTAINERS_REGISTRIES_CONF": str(config / "registries.conf"),
            "COSIGN_PASSWORD": "",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }
        (folder / "run").symlink_to(short)
        layout = folder / "layout"
        for place, also in ((f"{server.host}/machine", ["qemu", "hyperv"]), (f"oci:{layout}", [])):
            for tag, disk in ((OLD, old), (NEW, new)):
                haulout.push(
                    f"{place}:{tag}",
                    [haulout.DiskSource(disk, haulout.Architecture(name)) for name in ARCHITECTURES],
                    also=also,
                    title="machine",
                    delta_from=[f"{place}:{OLD}"] if tag == NEW else [],
                )
        yield Lab(tools, server, folder, environment, old, new, layout)


def said(ended: Ended, expected: str) -> str:
    """How a tool failed: with the expected words if it said them, of whichever processor; else with all it said."""
    assert ended.code, f"it worked: {ended.out}"
    text = ended.err.replace('\\"', '"').replace(haulout.Architecture.here().go, "amd64")
    return f"exit {ended.code}, `{expected}`" if expected in text else f"exit {ended.code}: {text}"
