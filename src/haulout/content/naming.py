"""Names in a layout's ``index.json``: pure decisions about which entry a tag means, and how an edit looks.

The rules (image-spec, image-layout.md and annotations.md leave them open, so they are written down here):

* a tag is the annotation ``org.opencontainers.image.ref.name``;
* where several entries bear the same name, the **first** counts, as for Podman and skopeo, and as "first match wins"
  of an image index; writing the tag leaves one entry with that name, the others stay without it;
* where no entry has the tag as its name, a full name that ends in ``:TAG`` counts, from that annotation (Podman's
  artifact store) or from containerd's ``io.containerd.image.name``, if all such entries mean one manifest;
* where ``latest`` is asked for and the layout's only entry has no name at all, it is that one, unless it is a referrer;
* entries are never reordered, and what we do not understand of them is kept.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haulout.errors import ContentError
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.oci import Descriptor, Digest, Index

CONTAINERD_NAME: Final = "io.containerd.image.name"
_NAME_KEYS: Final = (keys.REF_NAME, CONTAINERD_NAME)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def find(
    index: Index, tag: str, what: str, is_referrer: Callable[[Digest], bool] = lambda _: False
) -> Descriptor | None:
    """Return the entry ``tag`` means, or None.

    Args:
        index: the layout's.
        tag: the name.
        what: the layout, for errors.
        is_referrer: whether a manifest has a subject: it is listed to be found by that, and is never ``latest``.

    Raises:
        ContentError: several full names end in the tag and mean different manifests.
    """
    for entry in index.manifests:
        if bears(entry, tag):
            return entry
    full = {entry.digest: entry for entry in reversed(index.manifests) if tag in _full_name_tags(entry)}
    if len(full) > 1:
        named = ", ".join(sorted(str(digest) for digest in full)[:4])
        raise ContentError(
            f"{what} holds {len(full)} manifests whose names end in :{tag}", hint=f"ask by digest: {named}"
        )
    if full:
        return next(iter(full.values()))
    only = index.manifests[0] if len(index.manifests) == 1 else None
    if tag == "latest" and only is not None and not any(names(only)) and not is_referrer(only.digest):
        return only
    return None


def bears(entry: Descriptor, tag: str) -> bool:
    """Whether ``tag`` is the entry's own name."""
    return entry.annotations.get(keys.REF_NAME) == tag


def tags(index: Index) -> list[str]:
    """Return every tag :func:`find` may be asked for, sorted."""
    return sorted({tag for entry in index.manifests for tag in tags_of(entry)})


def tags_of(entry: Descriptor) -> set[str]:
    """Return the tags that an entry bears, by its own name or at the end of a full one."""
    name = entry.annotations.get(keys.REF_NAME, "")
    return _full_name_tags(entry) | ({name} if _TAG.fullmatch(name) else set())


def with_tag(index: Index, tag: str, target: Descriptor, keep: frozenset[Digest]) -> Index:
    """Return the index in which ``tag`` means ``target``.

    Args:
        index: as it is.
        tag: the name.
        target: its new meaning.
        keep: digests that must stay listed although they lose the name (referrers are found by being listed).
    """
    named = replace(target, annotations={**target.annotations, keys.REF_NAME: tag})
    entries: list[Descriptor] = []
    placed = False
    for entry in index.manifests:
        if not bears(entry, tag):
            entries.append(entry)
            continue
        if not placed:
            entries.append(named)
            if entry.digest in keep and entry.digest != target.digest:
                entries.append(_unnamed(entry))
        else:
            entries.append(_unnamed(entry))
        placed = True
    if not placed:
        entries.append(named)
    return replace(index, manifests=tuple(entries))


def without(index: Index, digest: Digest) -> Index:
    """Return the index without any entry of a manifest."""
    return replace(index, manifests=tuple(entry for entry in index.manifests if entry.digest != digest))


def without_tag(index: Index, tag: str, meant: Descriptor, keep: frozenset[Digest]) -> Index:
    """Return the index in which ``tag`` means nothing.

    Args:
        index: as it is.
        tag: the name; full names that end in it go as well.
        meant: the entry that :func:`find` returns for it.
        keep: digests that stay listed without a name.
    """
    entries: list[Descriptor] = []
    for entry in index.manifests:
        bare = _without_names(entry, tag)
        if (bare is entry and entry is not meant) or any(names(bare)) or entry.digest in keep:
            entries.append(bare)
    return replace(index, manifests=tuple(entries))


def with_unnamed(index: Index, target: Descriptor) -> Index:
    """Return the index that lists ``target``, without a name unless it has one already."""
    if any(entry.digest == target.digest for entry in index.manifests):
        return index
    return replace(index, manifests=(*index.manifests, target))


def names(entry: Descriptor) -> Iterator[str]:
    """Yield the names of an entry, full ones included."""
    for key in _NAME_KEYS:
        name = entry.annotations.get(key)
        if name:
            yield name


def _full_name_tags(entry: Descriptor) -> set[str]:
    return {tag for name in names(entry) if (tag := _tag_of(name)) is not None}


def _tag_of(full_name: str) -> str | None:
    repository, colon, tag = full_name.rpartition(":")
    return tag if colon and repository and _TAG.fullmatch(tag) else None


def _without_names(entry: Descriptor, tag: str) -> Descriptor:
    """Return the entry without the names that mean ``tag``: itself, where it has none."""
    mine = {key for key in _NAME_KEYS if (name := entry.annotations.get(key)) and tag in {name, _tag_of(name)}}
    if not mine:
        return entry
    return replace(entry, annotations={key: value for key, value in entry.annotations.items() if key not in mine})


def _unnamed(entry: Descriptor) -> Descriptor:
    return replace(entry, annotations={key: value for key, value in entry.annotations.items() if key != keys.REF_NAME})
