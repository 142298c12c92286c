"""What a command asks a registry for: nothing twice that was not written in between, and no more than is needed.

Left out are the tags by which publishers keep out of each other's way (docs/adr/0038): lists of tags,
announcements and lists of referrers are read again because others may have written them. The tag itself is read three
times where it moves: at the beginning, right before it is written, and after that.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.disks import MIB, noise, raw_disk
from tests.support.servers import docker_registry, needs

from haulout.frames.blocks import BLOCK
from haulout.oci import Architecture, parse_reference
from haulout.usecases.delta import delta
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("own_places"), needs("docker-registry")]
X86, ARM = Architecture.X86_64, Architecture.AARCH64
PROTOCOL = ("/tags/list", "/manifests/haulout.", "/manifests/sha256-")


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Three versions of a disk: each has small changes and something new."""
    folder = tmp_path_factory.mktemp("disks")
    paths = [raw_disk(folder / "1.raw", data_mib=12), folder / "2.raw", folder / "3.raw"]
    data = bytearray(paths[0].read_bytes())
    for number, path in enumerate(paths[1:]):
        for place in range(2 * MIB, 5 * MIB, BLOCK):
            data[place + 10 : place + 20] = b"012345678%d" % number
        data[(30 + number) * MIB : (31 + number) * MIB] = noise(f"fix {number}", MIB)
        path.write_bytes(data)
    return paths


class Counting:
    """A registry, and what one command asked it for."""

    def __init__(self, server) -> None:
        self.server = server

    def at(self, tag, repository="team/machine"):
        return parse_reference(f"{self.server.host}/{repository}:{tag}")

    def tags(self, repository="team/machine"):
        with urllib.request.urlopen(f"{self.server.url}/v2/{repository}/tags/list", timeout=10) as answer:
            return sorted(json.load(answer)["tags"])

    def requests(self, command) -> int:
        """Run a command; check that it asks for nothing twice, and count what it asks for."""
        before = len(self.server.accesses())
        result = command()
        made = self.server.accesses()[before:]
        assert asked_twice(made) == {}
        assert result.traffic.requests == len(made)
        return len(made)


def asked_twice(accesses) -> dict[str, int]:
    """Return what was read more often than it may have changed."""
    read: Counter[str] = Counter()
    allowed: Counter[str] = Counter()
    for access in accesses:
        url = urlsplit(access.path)
        path = url.path
        if access.method == "PUT" and "digest" in parse_qs(url.query):
            (digest,) = parse_qs(url.query)["digest"]
            path = f"{path.partition('/uploads/')[0]}/{digest}"
        if access.method == "PUT":
            allowed[path] += 1
        # Parts of blobs are ranges, each another one.
        elif access.method in {"GET", "HEAD"} and access.status != 206:
            read[path] += 1
    for path in allowed:
        # The tag that moves, read once more right before.
        allowed[path] += "/manifests/" in path and ":" not in path.rpartition("/")[2]
    return {
        path: times
        for path, times in read.items()
        if times > 1 + allowed[path] and not any(part in path for part in PROTOCOL)
    }


@pytest.fixture
def registry(tmp_path):
    with docker_registry(tmp_path) as server:
        yield Counting(server)


def test_a_first_push(registry, disks):
    # The tag and the list of tags; four blobs of two requests each, two manifests; whether deletion is allowed, the
    # announcement, the tag read and written, the announcements of others, and ours taken back.
    assert registry.requests(lambda: push(registry.at("1"), DiskSource(disks[0], X86), level=1)) <= 18
    assert registry.tags() == ["1"]


def test_a_first_push_of_a_large_disk_that_was_killed_before(registry, tmp_path):
    disk = DiskSource(raw_disk(tmp_path / "large.raw", data_mib=48), X86)
    assert registry.requests(lambda: push(registry.at("1"), disk, level=1)) <= 18
    # Its blobs are there, and no manifest.
    shutil.rmtree(registry.server.root / "docker/registry/v2/repositories/team/machine/_manifests")
    again = push(registry.at("1"), disk, level=1)
    assert again.traffic.requests <= 17, "the config is mounted, and looked for after that"
    assert again.traffic.sent < MIB


@pytest.mark.parametrize("deletes", [True, False])
def test_a_first_push_to_a_repository_beside_its_base(tmp_path, disks, deletes):
    # With a bundle of small frames: a fifth blob.
    scattered = bytearray(disks[0].read_bytes())
    for place in range(2 * MIB, 5 * MIB, 64 * BLOCK):
        scattered[place : place + BLOCK] = noise(f"{place}", BLOCK)
    (tmp_path / "2.raw").write_bytes(scattered)
    with docker_registry(tmp_path, deletes=deletes) as server:
        registry = Counting(server)
        push(registry.at("1"), DiskSource(disks[0], X86), level=1)
        there = registry.at("2", "team/other")
        push(there, DiskSource(tmp_path / "2.raw", X86), level=1, base=registry.at("1"))
        made = [access for access in server.accesses() if "/team/other/" in access.path]
        assert len([access for access in made if access.method == "PUT" and "digest=" in access.path]) == 4
        # The config is mounted.
        assert len([access for access in made if access.method == "POST"]) == 5
        assert len(made) <= 18


def test_a_first_push_where_nothing_is_deleted(tmp_path, disks):
    with docker_registry(tmp_path, deletes=False) as server:
        registry = Counting(server)
        # The tag is looked at twice after it was written.
        assert push(registry.at("1"), DiskSource(disks[0], X86), level=1).traffic.requests <= 18
        assert registry.tags() == ["1"]


def test_versions_leave_their_tags_and_nothing_else(registry, disks):
    for number, path in enumerate(disks):
        push(registry.at(f"{number}"), [DiskSource(path, X86), DiskSource(path, ARM)], level=1)
    assert registry.tags() == ["0", "1", "2"]


def test_a_push_of_what_is_there(registry, disks):
    first = push(registry.at("1"), DiskSource(disks[0], X86), level=1)
    # The tag, the manifest, whether its blob is there, the table of contents.
    assert registry.requests(lambda: push(registry.at("1"), DiskSource(disks[0], X86), level=1)) == 4
    assert push(registry.at("1"), DiskSource(disks[0], X86), level=1).index == first.index
    # Under another tag the disk is found as its base, and only manifests are written.
    assert registry.requests(lambda: push(registry.at("1.1"), DiskSource(disks[0], X86), level=1)) <= 30


def test_a_push_over_a_base(registry, disks):
    push(registry.at("1"), DiskSource(disks[0], X86), level=1)
    assert registry.requests(lambda: push(registry.at("2"), DiskSource(disks[1], X86), level=1)) <= 45
    # Two disks, and each finds its base among the same tags.
    sources = [DiskSource(disks[2], X86), DiskSource(disks[2], ARM)]
    assert registry.requests(lambda: push(registry.at("3"), sources, level=1)) <= 70
    assert registry.requests(lambda: push(registry.at("3"), sources, level=1, base=registry.at("2"))) <= 8


def test_a_push_with_a_base_and_a_delta(registry, disks):
    push(registry.at("1"), DiskSource(disks[0], X86), level=1)
    push(registry.at("2"), DiskSource(disks[1], X86), level=1)
    # The base and the disk that the delta starts from are the same, and pushed over.
    same = registry.requests(
        lambda: push(
            registry.at("2"),
            DiskSource(disks[2], X86),
            base=registry.at("2"),
            delta_from=[registry.at("2")],
            level=1,
        )
    )
    assert same <= 70
    other = registry.requests(
        lambda: push(
            registry.at("3", "another/name"),
            DiskSource(disks[1], X86),
            base=registry.at("2"),
            delta_from=[registry.at("1")],
            level=1,
        )
    )
    assert other <= 75
    again = registry.requests(
        lambda: push(
            registry.at("3", "another/name"), DiskSource(disks[1], X86), delta_from=[registry.at("1")], level=1
        )
    )
    assert again <= 14


def test_a_delta(registry, disks):
    for tag, path in zip("12", disks, strict=False):
        push(registry.at(tag), DiskSource(path, X86), level=1, use_base=False)
    made = registry.requests(lambda: delta(registry.at("1"), registry.at("2"), architecture="amd64", level=3))
    assert made <= 36
    assert registry.requests(lambda: delta(registry.at("1"), registry.at("2"), architecture="amd64")) <= 12
    files = {"old_file": disks[0], "new_file": str(disks[1])}
    assert (
        registry.requests(lambda: delta(registry.at("1"), registry.at("2"), architecture=X86, again=True, **files))
        <= 36
    )
