"""Disks and container images in every shape people publish, made by hand."""

from __future__ import annotations

import io
import json

import pytest

from haulout.content.memory import MemoryStore
from haulout.errors import NoMatchingDisk
from haulout.oci import (
    Architecture,
    Descriptor,
    Index,
    Manifest,
    Platform,
    empty_config_manifest,
    mediatype,
    parse_reference,
)
from haulout.resolve import DiskQuery, resolve

X86, ARM, RISCV = Architecture.X86_64, Architecture.AARCH64, Architecture.RISCV64
REFERENCE = parse_reference("quay.io/podman/machine-os:5")
TITLE = "org.opencontainers.image.title"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


class CountingStore(MemoryStore):
    """A store that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests = 0
        self.listings = 0

    def manifest(self, selector):
        self.manifests += 1
        return super().manifest(selector)

    def referrers(self, subject, artifact_type=None):
        self.listings += 1
        return super().referrers(subject, artifact_type)


def blob(content: bytes = b"x", media_type=mediatype.ZSTD, title=None) -> Descriptor:
    return Descriptor.of(media_type, content, annotations={TITLE: title} if title else {})


def push(store, manifest, tag=None) -> Descriptor:
    pushed: Descriptor = store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
    return pushed


def disk(store, title="m.x86_64.qemu.qcow2.zst", tag=None, **more) -> Descriptor:
    return push(store, empty_config_manifest((blob(title.encode(), title=title),), **more), tag)


def container(store, arch="amd64", layers=2, tag=None, subject=None) -> Descriptor:
    config = json.dumps({"architecture": arch, "os": "linux", "rootfs": {"type": "layers"}}).encode()
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    store.push_blob(described, lambda: io.BytesIO(config))
    tars = tuple(blob(b"layer" * (number + 1) + arch.encode(), TAR) for number in range(layers))
    return push(store, Manifest(described, tars, subject=subject), tag)


def entry(target: Descriptor, arch=None, disktype=None, **more) -> Descriptor:
    return Descriptor(
        target.media_type,
        target.digest,
        target.size,
        {"disktype": disktype} if disktype else {},
        Platform(arch, "linux") if arch else None,
        **more,
    )


def podman_index(store, containers_first=True) -> None:
    """As quay.io/podman/machine-os:5.x is built."""
    bootable = [entry(container(store, arch, 60), arch) for arch in ("amd64", "arm64")]
    disks = [
        entry(disk(store, f"podman-machine.{arch}.{kind}.{extension}.zst"), arch, kind)
        for kind, extension in (("applehv", "raw"), ("hyperv", "vhdx"), ("qemu", "qcow2"))
        for arch in ("x86_64", "aarch64")
        if (kind, arch) != ("applehv", "x86_64")
    ]
    push(store, Index((*bootable, *disks) if containers_first else (*disks, *bootable)), "5")


def find(store, arch=X86, kind=None, title=None, reference=REFERENCE):
    return resolve(store, reference, DiskQuery(arch, kind, title))


def refusal(store, *args, error=NoMatchingDisk, **kwargs) -> str:
    with pytest.raises(error) as caught:
        find(store, *args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def several(store, *titles):
    layers = tuple(blob(title.encode(), mediatype.OCTETS, title) for title in titles)
    push(store, empty_config_manifest(layers, artifact_type="a/b"), "5")
