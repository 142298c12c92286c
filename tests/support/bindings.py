"""A binding and its registration."""

from __future__ import annotations

from haulout.oci import Digest
from haulout.workload.binding import Binding

BINDING = Binding("web", Digest.of(b"header"), bytes(range(32)), b"s" * 32, 10 << 20)
