"""What is pushed and pulled while it is killed, where to, and how to see without our own client what is there."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from victims import Wrong

if TYPE_CHECKING:
    from pathlib import Path

    from reliability import Bench

    from haulout.frames.toc import Toc

SECONDS = 90.0
OLD = b"the old result\n" * 1000
FLAGS = ("--arch", "x86_64", "--progress", "none", "--json")
REF_NAME = "org.opencontainers.image.ref.name"


class RegistryPlace:
    """Reads a repository by plain HTTP, independently of our own client."""

    def __init__(self, host: str, repository: str) -> None:
        self._url = f"http://{host}/v2/{repository}"

    def tag(self) -> bytes | None:
        return self._get("manifests/5.0")

    def get(self, digest: str, kind: str) -> bytes | None:
        return self._get(f"{kind}/{digest}")

    def _get(self, path: str) -> bytes | None:
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{self._url}/{path}", headers={"Accept": accept}), timeout=SECONDS
            ) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise


class LayoutPlace:
    """Reads an image layout as plain files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tag(self) -> bytes | None:
        if not (self._folder / "oci-layout").exists():
            return None
        for entry in json.loads((self._folder / "index.json").read_text())["manifests"]:
            if entry.get("annotations", {}).get(REF_NAME) == "5.0":
                return self.get(entry["digest"], "manifests")
        return None

    def get(self, digest: str, kind: str) -> bytes | None:
        path = self._folder / "blobs/sha256" / digest.removeprefix("sha256:")
        return path.read_bytes() if path.exists() else None


def entries_of(place: RegistryPlace | LayoutPlace, index: bytes) -> dict[str, str]:
    """Read everything an index names; return the plain disk's digest of every architecture/type."""

    def require(digest: str, size: int, kind: str) -> bytes:
        data = place.get(digest, kind)
        if data is None or len(data) != size or f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise Wrong(f"{kind} {digest} is {'missing' if data is None else 'damaged'}")
        return data

    found = {}
    for entry in json.loads(index)["manifests"]:
        manifest = json.loads(require(entry["digest"], entry["size"], "manifests"))
        for blob in (manifest["config"], *manifest["layers"]):
            require(blob["digest"], blob["size"], "blobs")
        if entry["platform"]["os"] == "unknown":
            continue  # the tables of a disk
        toc, size = manifest["annotations"]["io.github.haulout.toc"].split()
        require(toc, int(size), "blobs")
        disk = manifest["annotations"]["io.github.haulout.disk"].split()[0]
        found[f"{entry['platform']['architecture']}/{entry['annotations']['disktype']}"] = disk
    return found


# -- the cases -------------------------------------------------------------------------------------------------------


@dataclass
class Disk:
    """What is pushed and pulled."""

    path: Path
    sha256: str = ""
    toc: Toc | None = None
    toc_size: int = 0

    def missing(self, file: Path | None) -> int:
        """Blob bytes of the data frames that ``file`` does not hold."""
        frames = self.toc.data_frames
        if file is None:
            return self.toc.blob_bytes(frames)
        with file.open("rb") as opened:
            return self.toc.blob_bytes(frame for frame in frames if not self._holds(opened.fileno(), frame))

    def _holds(self, fd: int, frame: int) -> bool:
        plain = os.pread(fd, self.toc.plain_size(frame), self.toc.disk_offsets[frame])
        return hashlib.sha256(plain).digest() == self.toc.digest(frame)

    @property
    def zero_frames(self) -> int:
        """Blob bytes of frames that hold nothing: a few each, read over rather than asked around."""
        return sum(self.toc.compressed) - self.toc.blob_bytes(self.toc.data_frames)


@dataclass
class Place:
    """Where one point is tried."""

    folder: Path
    reference: str
    had_old: bool

    @property
    def environment(self) -> dict[str, str]:
        return {"XDG_CACHE_HOME": str(self.folder / "cache"), "TMPDIR": str(self.folder / "tmp")}

    @property
    def target(self) -> Path:
        return self.folder / "out.disk"

    def strays(self) -> list[str]:
        """Files of ours that no finished command needs."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if _is_stray(path)]


def _is_stray(path: Path) -> bool:
    if path.parent.name == "tmp":
        # Python tries out the temporary directory with a file of four bytes, which a kill leaves behind.
        return path.is_dir() or path.read_bytes() not in {b"", b"blat"}
    return path.name.startswith(".") or ("pulls" in path.parts[:-1] and path.suffix != ".json")


def content_of(result: dict[str, Any]) -> int:
    """Bytes of the disk's content that a pull fetched: without tables, which only tell where it is."""
    return result["fetched"] - result["index"]


class Case(ABC):
    """One way of pushing or pulling."""

    name: str

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._numbers = itertools.count()

    def place(self) -> Place:
        """Make a fresh place, every second one with an old result in it."""
        with self.bench.lock:
            number = next(self._numbers)
        folder = self.bench.folder / f"{type(self).__name__.lower()}-{number}"
        (folder / "tmp").mkdir(parents=True)
        return self.prepare(Place(folder, "", number % 2 == 1))

    @abstractmethod
    def prepare(self, place: Place) -> Place: ...

    @abstractmethod
    def argv(self, place: Place) -> list[str]: ...

    @abstractmethod
    def state(self, place: Place) -> str:
        """Return ``absent``, ``old`` or ``new``; raise Wrong for anything else."""

    def require_new(self, place: Place) -> None:
        """Check what a run that says it is done has done."""
        if self.state(place) != "new":
            raise Wrong("the run says it is done, but it is not")

    def owed(self, place: Place) -> int:
        """Blob bytes that the next run may fetch."""
        return 0

    def refetched(self, result: dict[str, Any], owed: int) -> int:
        """Blob bytes that were fetched though they were here and verified."""
        return 0


class Push(Case):
    name = "push to docker-registry"
    extra: tuple[str, ...] = ()
    keys = ("x86_64/applehv",)

    def prepare(self, place: Place) -> Place:
        place.reference = f"{self.bench.host}/{place.folder.name}:5.0"
        if place.had_old:
            self.bench.clone("old", place.folder.name)
        return place

    def look(self, place: Place) -> RegistryPlace | LayoutPlace:
        return RegistryPlace(self.bench.host, place.folder.name)

    def argv(self, place: Place) -> list[str]:
        return ["push", place.reference, str(self.bench.disk.path), "--level", "1", *self.extra, *FLAGS]

    def state(self, place: Place) -> str:
        there = self.look(place)
        index = there.tag()
        if index is None:
            if place.had_old:
                raise Wrong("the old tag is gone")
            return "absent"
        entries = entries_of(there, index)
        old = dict.fromkeys(("aarch64/applehv", "x86_64/applehv"), self.bench.old_sha256) if place.had_old else {}
        if entries == old:
            return "old"
        ours = {key: entries.pop(key, "") for key in self.keys}
        if ours["x86_64/applehv"] != self.bench.disk.sha256 or not all(ours.values()):
            raise Wrong(f"the tag holds {ours}")
        if entries != {key: digest for key, digest in old.items() if key not in self.keys}:
            raise Wrong(f"entries that were there are not: {entries}")
        return "new"


class PushLayout(Push):
    name = "push to a layout"

    def prepare(self, place: Place) -> Place:
        place.reference = f"oci:{place.folder}/layout:5.0"
        if place.had_old:
            shutil.copytree(self.bench.folder / "old", place.folder / "layout")
        return place

    def look(self, place: Place) -> RegistryPlace | LayoutPlace:
        return LayoutPlace(place.folder / "layout")


class PushAlso(PushLayout):
    name = "push --also qemu"
    extra = ("--also", "qemu")
    keys = ("x86_64/applehv", "x86_64/qemu")


class Pull(Case):
    name = "pull from docker-registry"
    extra: tuple[str, ...] = ()
    overhead: int | None = None
    """Bytes received besides those of blobs: index and manifest."""

    def prepare(self, place: Place) -> Place:
        place.reference = f"{self.bench.host}/new:5.0"
        if place.had_old:
            place.target.write_bytes(OLD)
        return place

    def argv(self, place: Place) -> list[str]:
        # Asking for deltas is no content, but crosses the wire.
        return ["pull", place.reference, "-o", str(place.target), "--no-delta", *self.extra, *FLAGS]

    def state(self, place: Place) -> str:
        if not place.target.exists():
            if place.had_old:
                raise Wrong("the old target is gone")
            return "absent"
        if place.target.stat().st_size == len(OLD) and place.target.read_bytes() == OLD:
            return "old"
        if not self.is_right(place.target):
            raise Wrong("the target is neither old nor right")
        return "new"

    def is_right(self, target: Path) -> bool:
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.bench.disk.sha256.removeprefix("sha256:")

    def owed(self, place: Place) -> int:
        if self.state(place) == "new":
            return 0
        return self.bench.disk.missing(next(place.folder.glob(".out.disk.*.disk.partial"), None))

    def refetched(self, result: dict[str, Any], owed: int) -> int:
        moved = content_of(result)
        if self.overhead is not None and result["requests"]:
            # What is reported must be what crossed the wire.
            # A disk that is present is checked against its table, which counts as fetched for the check alone.
            index = self.bench.disk.toc_size if result["status"] == "present" else result["index"]
            moved = max(moved, result["received"] - self.overhead - index)
        again = moved - owed
        return again if again > self.bench.disk.zero_frames else 0


class PullLayout(Pull):
    name = "pull from a layout"

    def prepare(self, place: Place) -> Place:
        super().prepare(place).reference = f"oci:{self.bench.folder}/new:5.0"
        return place


class PullAs(PullLayout):
    name = "pull --as qcow2"
    extra = ("--as", "qcow2")

    def is_right(self, target: Path) -> bool:
        compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", str(self.bench.disk.path), str(target)]
        return subprocess.run(compare, check=False).returncode == 0


class PullWhole(Pull):
    """A blob without a table of contents: what is kept is the blob itself."""

    name = "pull without a table"

    def prepare(self, place: Place) -> Place:
        super().prepare(place).reference = f"{self.bench.host}/whole:5.0"
        return place

    def owed(self, place: Place) -> int:
        if self.state(place) == "new":
            return 0
        spool = next(place.folder.glob(".out.disk.*.blob.partial"), None)
        return self.bench.disk.toc.blob_size - (spool.stat().st_size if spool else 0)
