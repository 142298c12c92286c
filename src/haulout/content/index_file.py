"""The file ``index.json`` of an image layout: bounded as a local file is, not as what a registry sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.errors import ContentError
from haulout.oci import Index

if TYPE_CHECKING:
    from haulout.content.folder import Folder

INDEX_FILE: Final = "index.json"
MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest one read, and therefore written: some 250,000 entries."""


def read_index(root: Folder, directory: str) -> Index:
    """Read it.

    Raises:
        ContentError: it is missing, damaged or too large.
    """
    data = root.read(INDEX_FILE, MAX_BYTES)
    if data is None:
        raise ContentError(f"{directory} is a damaged image layout: {INDEX_FILE} is missing")
    return Index.parse(data, f"{directory}/{INDEX_FILE}", largest=MAX_BYTES)


def write_index(root: Folder, index: Index) -> None:
    """Replace it.

    Raises:
        ContentError: it would be too large to be read again; the old one stays.
        StorageError: the file system refuses.
    """
    data = index.to_bytes()
    if len(data) > MAX_BYTES:
        raise ContentError(
            f"{INDEX_FILE} would have {len(data)} bytes; at most {MAX_BYTES} are read",
            hint="remove old versions first: haulout prune",
        )
    root.write(INDEX_FILE, data)
