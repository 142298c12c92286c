"""A registry with one good disk, whose answers a test spoils as it likes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.simulators.registry import SimulatedRegistry

from haulout.oci import Architecture, parse_reference
from haulout.usecases.push import DiskSource, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Wicked:
    """A simulated registry that holds one good disk, and spoils answers as told."""

    def __init__(self, registry, blob: str, toc: str, manifest: str, index: str) -> None:
        self.registry = registry
        self.blob, self.toc, self.manifest, self.index = blob, toc, manifest, index

    def spoil(self, what: str, change) -> None:
        """Pass every answer for ``what`` (blob, toc, manifest, index) through ``change``."""
        digest = getattr(self, what)
        tagged = what == "index"

        def before(request):
            if request.method != "GET" or not (digest in request.path or (tagged and request.path.endswith("/5.0"))):
                return None
            return change(self.registry.answer(request))

        self.registry.before = before

    def everything(self, change) -> None:
        self.registry.before = lambda request: change(self.registry.answer(request))


@contextmanager
def wicked_registry(disk: Path) -> Iterator[Wicked]:
    """Run a registry that holds ``disk`` as ``m:5.0``."""
    with SimulatedRegistry() as registry:
        reference = parse_reference(f"{registry.host}/m:5.0")
        result = push(reference, [DiskSource(disk, Architecture.X86_64)])
        pushed = result.disks[0]
        yield Wicked(registry, str(pushed.blob.digest), str(pushed.toc.digest), str(pushed.manifest), str(result.index))


def body(change):
    return lambda answer: replace(answer, body=change(answer.body))


def document(change):
    def apply(answer):
        parsed = json.loads(answer.body)
        change(parsed)
        return replace(answer, body=json.dumps(parsed).encode())

    return apply


def flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


BODIES = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "padded": lambda data: data + b"\n" * 7,
    "flipped first": lambda data: flip(data, 0),
    "flipped middle": lambda data: flip(data, len(data) // 2),
    "flipped first third": lambda data: flip(data, len(data) // 3),
    "flipped last": lambda data: flip(data, -1),
    "zeros": lambda data: bytes(len(data)),
    "html": lambda _: b"<!DOCTYPE html><html><body>Please log in</body></html>",
}
