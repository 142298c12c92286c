"""What the rules of policies are made of: lists of allowed values, and what has to be given."""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import TYPE_CHECKING

from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.local import Table

Allowed = frozenset[bytes] | None
"""Values of which one has to be met; None: any."""
Four = tuple[Allowed, Allowed, Allowed, Allowed]


class Need(StrEnum):
    """Whether something has to be given."""

    REQUIRED = "required"
    OPTIONAL = "optional"


def require_allowed(rule: Rule, what: str, value: bytes, allowed: Allowed) -> None:
    """Refuse a value that is not among those allowed; None allows any."""
    # Every candidate is compared, each as a whole: no prefix counts, and timing reveals nothing.
    if allowed is not None and not any([hmac.compare_digest(value, one) for one in allowed]):  # noqa: C419
        shown = value.hex()
        raise Refused(rule, f"{what} is {shown[:32]}{'…' if len(shown) > 32 else ''}, which the policy does not list")


def read_four(table: Table, name: str, sizes: tuple[int, ...]) -> Four:
    """Read the lists of four registers: ``name0`` to ``name3``."""
    first, second, third, fourth = (table.digests(f"{name}{number}", sizes) for number in range(4))
    return first, second, third, fourth
