"""From layers, lowest first, to one tree."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from haulout.errors import InvalidRootfs
from haulout.rootfs.limits import Limits
from haulout.rootfs.merge import Merge, is_metadata
from haulout.rootfs.nodes import File
from haulout.rootfs.streams import open_stream
from haulout.rootfs.tarball import entries
from haulout.rootfs.tree import Held, Reader, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from haulout.rootfs.limits import Path
    from haulout.rootfs.streams import Opener, Stream


def from_layers(
    layers: Sequence[Opener],
    *,
    names: Sequence[str] | None = None,
    limits: Limits | None = None,
    strict: bool = True,
    seen: Callable[[Path, File, Stream], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Tree:
    """Merge layers, lowest first.

    Args:
        layers: each opens its tar stream at the beginning (plain, gzip or zstd), as often as it is asked. It
            also verifies the digest; a plain tar that says it is seekable is not read through for its headers.
        names: what errors call the layers; by default ``layer 1`` and so on.
        limits: against hostile archives.
        strict: whether an archive must have its end mark, which some builders leave out.
        seen: is called for each file, whether or not it stays in the tree, with the stream at its first stored byte; it
            may read no further than its last.
        note: is told, once for each layer, what is odd about it and accepted.

    Raises:
        InvalidRootfs: a layer is damaged, an entry is refused, or a limit exceeded; it names layer, entry and rule.
    """
    limits = limits or Limits()
    if len(layers) > limits.layers:
        raise InvalidRootfs("the image", "", "bomb", f"{len(layers)} layers, more than {limits.layers}")
    merge = Merge()
    sources = []
    count = 0
    plain = 0
    for index, opener in enumerate(layers):
        source = LayerSource(opener, names[index] if names else f"layer {index + 1}", limits)
        sources.append(source)
        merge.begin_layer(source.name)
        leftovers = False
        with open_stream(opener, source.name, limits) as stream:
            for entry in entries(stream, index + 1, source.name, limits, strict=strict):
                count += 1
                if count > limits.entries:
                    raise InvalidRootfs(source.name, "", "bomb", f"more than {limits.entries} entries so far")
                if seen is not None and isinstance(entry.node, File):
                    seen(entry.path, entry.node, stream)
                leftovers = leftovers or is_metadata(entry.path)
                merge.add(entry)
            plain += stream.position
        if plain > limits.plain_bytes:
            raise InvalidRootfs(source.name, "", "bomb", f"more than {limits.plain_bytes} bytes in the layers so far")
        if note is not None:
            _tell(note, source.name, stream, leftovers=leftovers)
    return Tree(merge.root, (Held(), *sources))


@contextmanager
def open_layer(opener: Opener) -> Iterator[Stream]:
    """Open a layer as the plain bytes of its archive, from the first to the last.

    Raises:
        InvalidRootfs: another compression than gzip or zstd; while reading: damage, or a bomb.
    """
    with open_stream(opener, "the layer", Limits()) as stream:
        yield stream


def _tell(note: Callable[[str], None], name: str, stream: Stream, *, leftovers: bool) -> None:
    if not stream.position:
        note(f"{name} is empty")
    elif not stream.ended:
        note(f"{name} has no end-of-archive marker")
    if leftovers:
        note(f"{name} has leftovers of aufs, which are passed over")


class LayerSource:
    """A layer; an offset is a position in its plain tar stream."""

    def __init__(self, opener: Opener, name: str, limits: Limits) -> None:
        self._opener = opener
        self._limits = limits
        self.name = name

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Begin a pass."""
        with open_stream(self._opener, self.name, self._limits) as stream:
            yield stream
