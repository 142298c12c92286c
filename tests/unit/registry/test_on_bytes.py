"""``on_bytes`` sees every block of a body, both ways: enough to slow transfers."""

from __future__ import annotations

import io
import time

from tests.support.simulators.registry import SimulatedRegistry

from haulout.oci import Descriptor, RegistryReference, parse_reference
from haulout.registry import ConnectionOptions, Registries

DATA = bytes(300_000)
BLOB = Descriptor.of("application/octet-stream", DATA)


def test_blocks_are_reported_both_ways_and_may_be_slowed():
    seen: list[int] = []

    def slow(size: int) -> None:
        seen.append(size)
        time.sleep(size / 1_000_000)

    with SimulatedRegistry() as server:
        reference = parse_reference(f"{server.host}/m:1")
        assert isinstance(reference, RegistryReference)
        with Registries(ConnectionOptions(on_bytes=slow), environment={}) as registries:
            store = registries.repository(reference, push=True)
            begun = time.monotonic()
            store.push_blob(BLOB, lambda: io.BytesIO(DATA))
            assert time.monotonic() - begun >= 0.3
            assert sum(seen) >= len(DATA)
            seen.clear()
            begun = time.monotonic()
            with store.open_blob(BLOB) as stream:
                assert stream.read(len(DATA)) == DATA
            assert time.monotonic() - begun >= 0.3
            assert sum(seen) >= len(DATA)


def test_pieces_of_an_upload_are_slowed_too():
    seen: list[int] = []
    with SimulatedRegistry() as server:
        reference = parse_reference(f"{server.host}/m:1")
        assert isinstance(reference, RegistryReference)
        options = ConnectionOptions(on_bytes=seen.append, upload_chunk=100_000)
        with Registries(options, environment={}) as registries:
            store = registries.repository(reference, push=True)
            store.push_blob(BLOB, lambda: io.BytesIO(DATA))
            assert sum(seen) == len(DATA)
            # No silence longer than it takes to pass a few KiB.
            assert max(seen) <= 16 * 1024
            with store.open_blob(BLOB) as stream:
                assert stream.read(len(DATA)) == DATA
