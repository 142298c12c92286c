"""From a reference to the place it names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from haulout.content.layout import LayoutStore
from haulout.oci import LayoutReference
from haulout.registry import ConnectionOptions, Registries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content.ports import Store
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress


@contextmanager
def open_store(
    reference: Reference, connections: ConnectionOptions, progress: Progress, *, push: bool = False
) -> Iterator[Store]:
    """Open the repository or layout that ``reference`` names, for as long as the block lasts.

    Args:
        reference: only its place counts, not its tag or digest.
        connections: how registries are reached; layouts ignore it.
        progress: told of warnings from registries and of mirrors that fail.
        push: whether it is written to; a layout is created then if it is not there.
    """
    if isinstance(reference, LayoutReference):
        with LayoutStore(reference.directory, create=push) as layout:
            yield layout
        return
    with (
        Registries(connections, note=progress.note) as registries,
        registries.repository(reference, push=push) as repository,
    ):
        yield repository


def selector(reference: Reference) -> str | Digest:
    """Return what a store is asked for: the digest where there is one, else the tag."""
    if reference.digest is not None:
        return reference.digest
    assert reference.tag is not None, "references without tag and digest are parsed to 'latest'"
    return reference.tag
