"""Debian's podman and buildah among our tags: they list, copy, publish and pull, and so do we what they made."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from tests.support.containers import Containers, containers
from tests.support.disks import raw_disk, sha256
from tests.support.servers import docker_registry, needs

from haulout.disk import DiskType
from haulout.errors import NoMatchingDisk
from haulout.oci import (
    Architecture,
    Descriptor,
    Index,
    Manifest,
    Platform,
    RegistryReference,
    mediatype,
    parse_reference,
)
from haulout.oci import annotations as keys
from haulout.registry import ConnectionOptions, Registries
from haulout.resolve import Role
from haulout.usecases.lookup import inventory, resolve
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, needs("docker-registry", "podman", "buildah")]
X86, ARM = Architecture.X86_64, Architecture.AARCH64
HERE = Architecture.here()
BOTH = pytest.mark.parametrize("tool", ["podman", "buildah"])
DOCUMENT = Path(__file__).parents[2] / "docs/other-tools.md"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def registry(tmp_path):
    with docker_registry(tmp_path) as server:
        yield server


@pytest.fixture
def tools(tmp_path, monkeypatch, registry):
    with containers(tmp_path, monkeypatch, registry.host) as both:
        yield both


@pytest.fixture
def disk(tmp_path):
    return raw_disk(tmp_path / "d.raw", data_mib=2, size_mib=8)


def reference(server, repository="machine"):
    found = parse_reference(f"{server.host}/{repository}:5.0")
    assert isinstance(found, RegistryReference)
    return found


def index_of(server, repository="machine"):
    accept = {"Accept": f"{mediatype.OCI_INDEX}, {mediatype.DOCKER_INDEX}"}
    request = urllib.request.Request(f"{server.url}/v2/{repository}/manifests/5.0", headers=accept)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return Index.parse(answer.read(), repository)


def without_tables(index):
    """The entries that are for some platform."""
    return [entry for entry in index.manifests if entry.platform != Platform("unknown", "unknown")]


def entries(index):
    """Architecture and disk type of each entry but the tables of disks."""
    return [
        (entry.platform and entry.platform.architecture, entry.annotations.get("disktype"))
        for entry in without_tables(index)
    ]


def pulled(server, tmp_path, architecture, repository="machine", **options):
    out = tmp_path / f"pulled-{repository}-{architecture}"
    pull(reference(server, repository), architecture=architecture, output=out, **options)
    return sha256(out)


def add_container(tools: Containers, tool: str, name: str, image: str) -> None:
    tools.run(tool, "manifest", "add", name, f"containers-storage:localhost/{image}")


def push_list(tools: Containers, tool: str, server, name: str, repository: str = "machine") -> None:
    target = f"docker://{server.host}/{repository}:5.0"
    tools.run(tool, "manifest", "push", "--all", "--tls-verify=false", name, target)


def pulls_container(tools: Containers, server, label: str, repository: str = "machine") -> None:
    """``podman pull`` of the tag gets the container image, and nothing but it."""
    name = f"{server.host}/{repository}:5.0"
    tools.run("podman", "rmi", "--force", "--all")
    tools.run("podman", "pull", "--quiet", "--tls-verify=false", name)
    (image,) = tools.json("podman", "image", "inspect", name)
    assert (image["Labels"]["made-as"], image["Architecture"]) == (label, HERE.go)


@BOTH
def test_they_list_what_we_pushed(registry, tools, disk, tool):
    push(reference(registry), [DiskSource(disk, X86), DiskSource(disk, ARM)])
    shown = tools.json(tool, "manifest", "inspect", f"{registry.host}/machine:5.0")
    assert [(entry["digest"], entry["platform"]) for entry in shown["manifests"]] == [
        (str(entry.digest), {"architecture": architecture, "os": system})
        for entry, (architecture, system) in zip(
            index_of(registry).manifests,
            (("x86_64", "linux"), ("aarch64", "linux"), *(2 * [("unknown", "unknown")])),
            strict=True,
        )
    ]


@BOTH
def test_an_index_they_made_of_our_disks_and_a_container(registry, tools, tmp_path, disk, tool):
    push(reference(registry, "source"), [DiskSource(disk, X86), DiskSource(disk, ARM)])
    tools.image("bootable", "bootable")
    tools.run(tool, "manifest", "create", "made")
    source = f"docker://{registry.host}/source"
    alone = index_of(registry, "source").manifests[0].digest
    single = tools.attempt(tool, "manifest", "add", "--tls-verify=false", "made", f"{source}@{alone}")
    # These versions add a manifest by itself only if it has an image config; as part of an index it may have any.
    assert single.code == 0 or "unsupported image-specific operation on artifact" in single.err
    tools.run(tool, "manifest", "add", "--all", "--tls-verify=false", "made", f"{source}:5.0")
    for entry in without_tables(index_of(registry, "source")):
        assert entry.platform is not None
        stated = ("--annotation", "disktype=applehv", "--arch", entry.platform.architecture, "--os", "linux")
        tools.run(tool, "manifest", "annotate", *stated, "made", entry.digest)
    add_container(tools, tool, "made", "bootable")
    push_list(tools, tool, registry, "made")

    assert entries(index_of(registry)) == [("x86_64", "applehv"), ("aarch64", "applehv"), (HERE.go, None)]
    assert resolve(reference(registry), architecture=X86).digest == alone
    for architecture in (X86, ARM):
        assert pulled(registry, tmp_path, architecture) == sha256(disk)
    with pytest.raises(NoMatchingDisk, match=r"no x86_64/hyperv in .*; there are x86_64/applehv, aarch64/applehv"):
        resolve(reference(registry), architecture=X86, disk_type=DiskType.HYPERV)
    roles = [child.role for child in inventory(reference(registry)).root.children]
    assert roles == [Role.DISK, Role.DISK, Role.ATTACHMENT, Role.ATTACHMENT, Role.CONTAINER]
    pulls_container(tools, registry, "bootable")


@BOTH
def test_an_index_they_made_of_disks_that_carry_an_image_config(registry, tools, tmp_path, disk, tool):
    """The form of one ``manifest add`` per disk, which these versions can do only with a config they understand."""
    blob = subprocess.check_output(["zstd", "-qc", disk])
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    with Registries(ConnectionOptions()) as registries:
        store = registries.repository(reference(registry, "source"), push=True)
        described = Descriptor.of(mediatype.OCI_CONFIG, config)
        layer = Descriptor.of(mediatype.ZSTD, blob, annotations={keys.TITLE: "m.x86_64.applehv.raw.zst"})
        store.push_blob(described, lambda: io.BytesIO(config))
        store.push_blob(layer, lambda: io.BytesIO(blob))
        manifest = Manifest(described, (layer,))
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "disk")
    tools.run(tool, "manifest", "create", "made")
    stated = ("--annotation", "disktype=applehv", "--arch", "x86_64", "--os", "linux")
    source = f"docker://{registry.host}/source:disk"
    tools.run(tool, "manifest", "add", "--tls-verify=false", *stated, "made", source)
    push_list(tools, tool, registry, "made")
    assert entries(index_of(registry)) == [("x86_64", "applehv")]
    assert pulled(registry, tmp_path, X86) == sha256(disk)


def test_a_container_published_first_stays_when_we_add_a_disk(registry, tools, tmp_path, disk):
    tools.image("bootable", "first")
    tools.run("podman", "manifest", "create", "made")
    add_container(tools, "podman", "made", "bootable")
    push_list(tools, "podman", registry, "made")
    before = index_of(registry).manifests
    push(reference(registry), [DiskSource(disk, HERE)])
    assert index_of(registry).manifests[:1] == before
    assert entries(index_of(registry)) == [(HERE.go, None), (str(HERE), "applehv")]
    assert pulled(registry, tmp_path, HERE) == sha256(disk)
    pulls_container(tools, registry, "first")


@BOTH
def test_a_container_they_add_to_our_tag_and_disks_we_push_afterwards(registry, tools, tmp_path, disk, tool):
    push(reference(registry), [DiskSource(disk, X86), DiskSource(disk, ARM)])
    tools.image("bootable", "second")
    tools.run(tool, "manifest", "create", "made")
    tools.run(tool, "manifest", "add", "--all", "--tls-verify=false", "made", f"docker://{registry.host}/machine:5.0")
    add_container(tools, tool, "made", "bootable")
    push_list(tools, tool, registry, "made")
    assert [architecture for architecture, _ in entries(index_of(registry))] == ["x86_64", "aarch64", HERE.go]
    assert pulled(registry, tmp_path, X86) == sha256(disk)
    pulls_container(tools, registry, "second")

    # Podman 4 drops the annotations of the entries it takes over: they are still the ones to replace.
    newer = raw_disk(tmp_path / "newer.raw", data_mib=2, size_mib=8, seed="newer")
    push(reference(registry), [DiskSource(newer, X86), DiskSource(newer, ARM)])
    assert sorted(entries(index_of(registry)), key=str) == sorted(
        [("x86_64", "applehv"), ("aarch64", "applehv"), (HERE.go, None)], key=str
    )
    for architecture in (X86, ARM):
        assert pulled(registry, tmp_path, architecture) == sha256(newer)
    pulls_container(tools, registry, "second")


@BOTH
def test_pulling_a_tag_of_disks_only_is_refused_in_the_words_we_document(registry, tools, disk, tool):
    push(reference(registry), [DiskSource(disk, X86), DiskSource(disk, ARM)])
    done = tools.attempt(tool, "pull", "--tls-verify=false", f"{registry.host}/machine:5.0")
    assert done.code == 125
    said = f'no image found in image index for architecture {HERE.go}, variant "", OS linux'
    assert done.err.endswith(said)
    assert said.replace(HERE.go, "amd64") in DOCUMENT.read_text()
    assert tools.json("podman", "image", "ls", "--format", "json") == []


def test_what_podman_mirrors_keeps_its_table(registry, tools, tmp_path, disk):
    push(reference(registry, "source"), [DiskSource(disk, X86)])
    tools.run("podman", "manifest", "create", "--all", "made", f"docker://{registry.host}/source:5.0")
    push_list(tools, "podman", registry, "made", "mirror")
    out = tmp_path / "out"
    result = pull(reference(registry, "mirror"), architecture=X86, output=out)
    assert (result.verified, sha256(out)) == ("frames", sha256(disk))
