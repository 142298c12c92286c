"""The kernel's modules that a guest needs, in the order in which they are loaded."""

from __future__ import annotations

import lzma
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

WANTED: Final = (
    *("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "configfs", "tsm"),
    *("sev_guest", "tdx_guest", "aesni_intel", "aes_ce_blk", "sha256_ssse3", "xts", "ecb", "dm_crypt", "dm_verity"),
    *("ext4", "overlay", "af_packet"),
)
"""Those that a kernel has built in, or does not have, are left out."""


def in_order(kernel: Path) -> dict[str, bytes]:
    """Return the modules below an unpacked kernel, by file name, each behind those that it depends on."""
    paths = {path.name.partition(".ko")[0].replace("-", "_"): path for path in sorted(kernel.rglob("*.ko*"))}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        path = paths.get(name.replace("-", "_"))
        if path is None or f"{name}.ko" in order:
            return
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends else ():
            add(other.replace("-", "_"))
        order[f"{name}.ko"] = data

    for name in WANTED:
        add(name)
    return order
