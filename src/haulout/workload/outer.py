"""The outer image, which is not encrypted. It reveals of the image inside only what libkrun has to know. Pure.

Nothing is copied from the image inside: no environment, label, annotation, history, or date.
"""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ContentError, InvalidManifest
from haulout.oci import Manifest, json
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.oci import Descriptor
    from haulout.workload.binding import Binding

LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
MEASUREMENT: Final = "io.github.haulout.cw.measurement"
"""Annotation of the manifest: the expected launch measurement, as ``tee:hexadecimal``."""
CREATED_BY: Final = "haulout cw build"
END: Final = bytes(1024)
"""Two blocks of zeros end an archive."""


def member(name: str, size: int, mode: int, mtime: int) -> bytes:
    """Return the header of a regular file in a layer, owned by root."""
    return _header(name, size, mode, mtime, tarfile.REGTYPE)


def folder(name: str, mode: int, mtime: int) -> bytes:
    """Return the header of a directory in a layer, owned by root."""
    return _header(f"{name}/", 0, mode, mtime, tarfile.DIRTYPE)


def padded(data: bytes) -> bytes:
    """Return a member's content with the zeros that follow it."""
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(name: str, size: int, mode: int, mtime: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.type = size, mode, mtime, kind
    return info.tobuf(tarfile.PAX_FORMAT)


def config(goarch: str, layer: Descriptor, tee: str, created: int, base: dict[str, Any] | None = None) -> bytes:
    """Return the image configuration.

    Args:
        goarch: the architecture.
        layer: ours; its digest is that of the plain archive.
        tee: for people, in the history.
        created: seconds since 1970.
        base: the configuration of a base image, whose layers and history are copied.

    Raises:
        ContentError: the base image's configuration has another form.
    """
    stamp = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    layers, history = _inherited(base)
    step: Any = {"created": stamp, "created_by": f"{CREATED_BY} for {tee}"}
    return json.dumps(
        {
            "created": stamp,
            "architecture": goarch,
            "os": "linux",
            "config": {"Entrypoint": ["/entrypoint"]},
            "rootfs": {"type": "layers", "diff_ids": [*layers, str(layer.digest)]},
            "history": [*history, step],
        }
    )


def _inherited(base: dict[str, Any] | None) -> tuple[list[Any], list[Any]]:
    if base is None:
        return [], []
    root, history = base.get("rootfs"), base.get("history") or []
    layers = root.get("diff_ids") if isinstance(root, dict) else None
    if not isinstance(layers, list) or not isinstance(history, list):
        raise ContentError("the base image's configuration does not list its layers")
    return layers, history


def manifest(
    described: Descriptor, layers: Sequence[Descriptor], binding: Binding, measurement: tuple[str, bytes] | None
) -> Manifest:
    """Return the manifest.

    Args:
        described: the configuration.
        layers: of a base image, then ours.
        binding: becomes an annotation.
        measurement: the TEE and its expected launch measurement, where it is known.
    """
    annotations = {keys.WORKLOAD: binding.to_bytes().decode()}
    if measurement is not None:
        annotations[MEASUREMENT] = f"{measurement[0]}:{measurement[1].hex()}"
    return Manifest(described, tuple(layers), annotations=annotations)


def parse_config(data: bytes, what: str) -> dict[str, Any]:
    """Parse an image configuration, which may hold numbers that manifests do not.

    Raises:
        ContentError: it is not a JSON object.
    """
    try:
        return json.loads(data, what)
    except InvalidManifest as exc:
        raise ContentError(f"{what} cannot be read: {exc.reason}") from exc
