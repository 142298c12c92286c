"""Debian's packages for the guest: found, downloaded and unpacked, never installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import run

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.local import Finished

ROOTS: Final = ("busybox", "cryptsetup-bin", "python3-minimal", "libpython3-stdlib", "python3-cryptography")
KERNELS: Final = {"x86_64": "linux-image-cloud-amd64", "aarch64": "linux-image-cloud-arm64"}
_UNUSED: Final = re.compile(r"(lib)?perl.*|dpkg|tar|mime-support|mailcap|media-types|install-info|debconf|readline-.*")
"""What the tools need while they are installed, not while they run."""
_QUIET: Final = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
_SECONDS: Final = 900.0
_HINT: Final = "this needs Debian or Ubuntu, by apt-get; anywhere else run it in a container of debian"


def closure(roots: tuple[str, ...] = ROOTS) -> list[str]:
    """Return the packages that some need, as the lists of this machine know them.

    Raises:
        ToolError: apt is not installed, or knows no such package.
    """
    done = _run(["apt-cache", "depends", "--recurse", *_QUIET, *roots])
    names = re.findall(r"^([a-z0-9][a-z0-9.+-]*)$", done.out.decode(), re.MULTILINE)
    return sorted({name for name in names if not _UNUSED.fullmatch(name)})


def kernel_package(meta: str) -> str:
    """Return the package that holds a kernel, which a metapackage names.

    Raises:
        ToolError: it is not known here.
    """
    done = _run(["apt-cache", "depends", meta])
    found = re.search(r"Depends: (linux-image-[0-9][^\s]*)", done.out.decode())
    return meta if found is None else found[1]


def fetch(names: list[str], folder: Path) -> dict[str, str]:
    """Download packages and unpack them into ``folder/root``; return the version of each.

    Raises:
        ToolError: apt is not installed, or cannot get one.
    """
    debs = folder / "debs"
    debs.mkdir()
    _run(["apt-get", "download", "-q", *names], debs)
    versions = {}
    for deb in sorted(debs.iterdir()):
        _run(["dpkg-deb", "-x", str(deb), str(folder / "root")])
        told = _run(["dpkg-deb", "-f", str(deb), "Package", "Version"]).out.decode()
        found = dict(line.split(": ", 1) for line in told.splitlines())
        versions[found["Package"]] = found["Version"]
        deb.unlink()
    return versions


def _run(argv: list[str], folder: Path | None = None) -> Finished:
    done = run(argv, seconds=_SECONDS, folder=folder, hint=_HINT)
    if done.code:
        raise ToolError(argv[0], f"failed: {done.said}", hint="try: apt-get update")
    return done
