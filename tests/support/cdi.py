"""What KubeVirt's Containerized Data Importer does with a container image (its ``pkg/importer/transport.go``).

It takes the image of its own architecture out of an index, refuses bootc images, and walks the layers in their order: of
the first one that has a file under ``disk/``, the first such file is the disk. Whiteouts and directories are no files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Imported:
    """What the importer finds."""

    name: str
    data: bytes
    owner: tuple[int, int]
    mode: int
    config: dict[str, Any]


def import_from_layout(layout: Path, tag: str, architecture: str) -> Imported:
    """Read a disk as CDI does, out of an image layout; every digest is checked on the way."""

    def blob(digest: str) -> bytes:
        data = (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:")
        return data

    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    (top,) = [each for each in entries if each.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag]
    found = json.loads(blob(top["digest"]))
    if "manifests" in found:
        wanted = {"architecture": architecture, "os": "linux"}
        entry = next(each for each in found["manifests"] if each["platform"] == wanted)
        found = json.loads(blob(entry["digest"]))
    config = json.loads(blob(found["config"]["digest"]))
    assert found["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert (config["architecture"], config["os"]) == (architecture, "linux")
    assert "containers.bootc" not in (config["config"].get("Labels") or {})
    assert config["rootfs"]["type"] == "layers"
    assert len(config["rootfs"]["diff_ids"]) == len(found["layers"])
    for layer, diff in zip(found["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        plain = gzip.decompress(blob(layer["digest"]))
        assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == diff
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name.startswith("disk/") and member.isreg() and not name.removeprefix("disk/").startswith(".wh."):
                    data = tar.extractfile(member)
                    assert data is not None
                    return Imported(name, data.read(), (member.uid, member.gid), member.mode, config)
    raise AssertionError("Failed to find VM disk image file in the container image")
