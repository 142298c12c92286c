"""The binding: one document that says which workload a disk is, and the key of the broker in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.workload.binding.broker_key import broker_key
    from haulout.workload.binding.document import NAME, Binding

__all__ = ["NAME", "Binding", "broker_key"]

open_face(__name__, {"broker_key": ("broker_key",), "document": ("NAME", "Binding")})
