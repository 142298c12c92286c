"""What is measured of a registry while something is read from it."""

from __future__ import annotations

import os

from haulout.content.memory import MemoryStore
from haulout.fetch.bandwidth import Bandwidth, MeasuringReader


def test_a_slow_connection_reads_over_wider_gaps():
    assert Bandwidth(0.0001, 1e9).gap(4) == 24 * 1024 + 424
    assert Bandwidth(0.1, 1e6).gap(4) == 25_000
    assert Bandwidth(1.0, 1e9).gap(4) == 64 * 1024
    assert Bandwidth(0.0, 1e9).gap(4) == 4 * 1024


def test_a_request_costs_what_could_have_been_read_meanwhile():
    measured = Bandwidth(0.1, 1e6)
    assert measured.cost(1000, 3, 4) == 1000 + 3 * measured.gap(4)


def test_until_enough_was_read_the_rate_is_a_guess():
    store = MemoryStore()
    with store.ingest() as sink:
        sink.write(os.urandom(200_000))
        blob = sink.commit("application/octet-stream")
    reader = MeasuringReader(store)
    assert reader.bandwidth() == Bandwidth()
    with reader.open_blob(blob, 0, 1000) as stream:
        stream.read(1000)
    assert reader.received == 1000
    assert reader.bandwidth().round_trip < Bandwidth().round_trip
    assert reader.bandwidth().bytes_per_second == Bandwidth().bytes_per_second
    with reader.open_blob(blob) as stream:
        stream.read(200_000)
    assert reader.received == 201_000
    assert reader.bandwidth().bytes_per_second != Bandwidth().bytes_per_second
