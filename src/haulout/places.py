"""From a reference to the place it names."""

from __future__ import annotations

import io
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from haulout.content import LayoutStore
from haulout.errors import RegistryError
from haulout.oci import EMPTY, LayoutReference
from haulout.registry import Registries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content import Store
    from haulout.oci import Descriptor, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions


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


def put_manifest(store: Store, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
    """Store a manifest, patiently where the registry does not see yet what another publisher uploads this moment.

    docker-registry 2.8 rewrites the link of a blob that is uploaded twice at once (every artifact shares the empty
    config), and for that instant refuses manifests that name it, with status 400.

    Raises:
        RegistryError: it goes on refusing.
    """
    for attempt in range(_PUT_TRIES):
        try:
            return store.push_manifest(data, media_type, tag)
        except RegistryError as exc:
            if exc.status != _BAD_REQUEST or attempt == _PUT_TRIES - 1:
                raise
            time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
            store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    raise AssertionError("the loop returns or raises")


_PUT_TRIES: Final = 6
_BAD_REQUEST: Final = 400
