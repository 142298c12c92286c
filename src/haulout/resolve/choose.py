"""Choose one disk among candidates, and one layer in a manifest. Pure; the first match wins, as image-spec has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.errors import NoMatchingDisk, NotFoundError
from haulout.resolve.query import CONTAINER_DISK, DEFAULT_TYPE, canonical_type
from haulout.resolve.recognise import Candidate, Role, architecture_of, disk_layers, file_layers, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.oci import Descriptor, Manifest
    from haulout.resolve.query import DiskQuery

_SHOWN: Final = 12


def choose(
    candidates: Sequence[Candidate], query: DiskQuery, reference: str, *, settled: bool = True
) -> Candidate | None:
    """Return the first disk that fits, or None.

    An entry that states its architecture is preferred to one that does not. An entry that does not state its type is
    only chosen where no type is asked for: the caller reads its manifest first, to learn more.

    Args:
        candidates: in the order of the index.
        query: what is wanted.
        reference: for the error.
        settled: whether the candidates are known as well as they can be; before that, nothing is an error.

    Raises:
        NoMatchingDisk: several fit, and only the user can choose.
    """
    fitting = [item for item in candidates if item.role is Role.DISK and query.takes_architecture(item.architecture)]
    fitting.sort(key=lambda item: item.architecture is None)
    if query.disk_type is not None:
        wanted = canonical_type(query.disk_type)
        fitting = [item for item in fitting if item.disk_type == wanted]
    else:
        # What holds a disk comes after the disks themselves.
        fitting = [item for item in fitting if item.disk_type != CONTAINER_DISK] or fitting
        kinds = {item.disk_type for item in fitting}
        if DEFAULT_TYPE in kinds:
            fitting = [item for item in fitting if item.disk_type == DEFAULT_TYPE]
        elif len(kinds) > 1:
            if not settled:
                return None
            raise NoMatchingDisk(reference, str(query), spelled(fitting), hint="say which with --type")
    if query.architecture is None and len({item.architecture for item in fitting}) > 1:
        if not settled:
            return None
        raise NoMatchingDisk(reference, f"{query} without an architecture", spelled(fitting), hint="name it: --arch")
    return fitting[0] if fitting else None


def spelled(candidates: Iterable[Candidate]) -> list[str]:
    """Spell the disks among candidates for an error, each once, in their order."""
    found = list(dict.fromkeys(str(item) for item in candidates if item.role is Role.DISK))
    return found if len(found) <= _SHOWN else [*found[:_SHOWN], f"{len(found) - _SHOWN} more"]


def choose_layer(manifest: Manifest, query: DiskQuery, reference: str) -> Descriptor | None:
    """Return the layer that holds the disk; None where the manifest holds no files at all.

    A layer with the wanted title; else the one that looks like a disk of the wanted kind; else the only file there is.

    Raises:
        NotFoundError: no layer has the wanted title, or several files fit, and only the user can choose.
        NoMatchingDisk: there are disks, of other architectures or types.
    """
    files = file_layers(manifest)
    if query.title is not None:
        titled = [layer for layer in files if layer.title == query.title]
        if not titled:
            raise NotFoundError(f"no file titled {query.title!r} in {reference}; {_titles(files)}")
        return titled[0]
    disks = disk_layers(manifest)
    pool = disks or files
    fitting = [
        layer for layer in pool if query.takes_architecture(architecture_of(layer)) and query.takes_type(type_of(layer))
    ]
    if pool and not fitting:
        there = [Candidate(layer, Role.DISK, architecture_of(layer), type_of(layer)) for layer in pool]
        raise NoMatchingDisk(reference, str(query), spelled(there))
    if len(fitting) > 1 and query.disk_type is None:
        preferred = [layer for layer in fitting if type_of(layer) == DEFAULT_TYPE]
        fitting = preferred or fitting
    if len({layer.digest for layer in fitting}) > 1:
        if not any(layer.title for layer in fitting):
            raise NotFoundError(
                f"{reference} holds {len(fitting)} layers without titles, none of which is a whole disk by itself",
                hint="it was probably published in pieces by another tool, and needs that tool",
            )
        raise NotFoundError(
            f"{len(fitting)} files in {reference} may be the disk; {_titles(fitting)}", hint="say which with --title"
        )
    return fitting[0] if fitting else None


def _titles(layers: Sequence[Descriptor]) -> str:
    titles = [repr(layer.title[:80]) for layer in layers if layer.title]
    if not titles:
        return "no file has a title"
    more = f" and {len(titles) - _SHOWN} more" if len(titles) > _SHOWN else ""
    return f"there {'are' if len(titles) > 1 else 'is'} {', '.join(titles[:_SHOWN])}{more}"
