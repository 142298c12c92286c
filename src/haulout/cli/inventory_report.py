"""What ``haulout inspect REF`` shows: entries, layers, annotations and all that is attached, as a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.cli.terminal import count, size
from haulout.errors import InvalidManifest
from haulout.oci import SizedDigest, mediatype
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.resolve import Inventory, Item

_LONGEST: Final = 120
"""Characters of an annotation shown to people; JSON has all of it."""
_NAMES: Final = {
    mediatype.TOC_ARTIFACT: "table of contents",
    mediatype.TOC: "table of contents",
    mediatype.HINTS: "hints",
}
_SHAPES: Final = {
    "index": "disks as entries of an index",
    "referrers": "disks attached to a container image",
    "single": "one artifact",
    "container": "container images, no disk",
    "container-disk": "container images with a disk under /disk/",
    "workload": "a confidential workload, no disk; see haulout cw inspect",
    "empty": "nothing that could be a disk",
}


@dataclass(frozen=True, slots=True)
class _Node:
    text: str
    below: tuple[_Node, ...] = ()


def lines(held: Inventory) -> Iterator[str]:
    """Write a reference for people."""
    disks = f": {count(len(held.disks), 'disk')}" if held.disks else ""
    yield f"{held.reference}: {_SHAPES.get(held.shape, held.shape)}{disks}"
    yield str(held.pinned)
    yield from _drawn(tuple(_below(held.root)), "")


def _drawn(nodes: tuple[_Node, ...], trunk: str) -> Iterator[str]:
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        yield f"{trunk}{'└── ' if last else '├── '}{node.text}"
        yield from _drawn(node.below, trunk + ("    " if last else "│   "))


def _node(item: Item, attached: str = "") -> _Node:
    kind = "/".join(part for part in (item.architecture, item.disk_type) if part)
    if not kind and item.descriptor.platform is not None:
        kind = str(item.descriptor.platform)
    ordinary = {None, mediatype.DISK_ARTIFACT, mediatype.OCI_EMPTY, *mediatype.IMAGE_CONFIGS}
    special = None if item.artifact_type in ordinary else item.artifact_type
    role = _NAMES.get(item.artifact_type or "") or " ".join(part for part in (str(item.role), kind, special) if part)
    return _Node(f"{attached}{role}, {size(item.size)}, sha256:{item.descriptor.digest.short}…", tuple(_below(item)))


def _below(item: Item) -> Iterator[_Node]:
    for note in item.notes:
        yield _Node(f"note: {note}")
    annotations = {**item.annotations, **item.descriptor.annotations}
    for name, value in annotations.items():
        # The disk type stands on the item's own line; the table of contents is shown where it is attached.
        if name == keys.DISK:
            yield _Node(f"plain disk{_sized(value)}")
        elif name not in {keys.DISKTYPE, keys.TOC}:
            yield _Node(f"{name} = {value if len(value) <= _LONGEST else value[:_LONGEST] + '…'}")
    for layer in item.layers:
        if layer.media_type != mediatype.OCI_EMPTY:
            what = layer.title or _NAMES.get(layer.media_type, "layer")
            yield _Node(f"{what}, {size(layer.size)}, {layer.media_type}")
    for child in item.children:
        yield _node(child)
    for referrer in item.referrers:
        yield _node(referrer, "attached: ")


def _sized(value: str) -> str:
    try:
        found = SizedDigest.parse(value, keys.DISK)
    except InvalidManifest as exc:
        return f": {exc.message}"
    return f", {size(found.size)}, sha256:{found.digest.short}…"
