"""Lists of what is allowed."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.policy import Allowed


def require_allowed(rule: Rule, what: str, value: bytes, allowed: Allowed) -> None:
    """Refuse a value that is not among those allowed; None allows any."""
    # Every candidate is compared, each as a whole: no prefix counts, and no time tells how far it agreed.
    if allowed is not None and not any([hmac.compare_digest(value, one) for one in allowed]):  # noqa: C419
        shown = value.hex()
        raise Refused(rule, f"{what} is {shown[:32]}{'…' if len(shown) > 32 else ''}, which the policy does not list")
