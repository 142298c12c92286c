"""What a policy demands of a genuine CCA token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.tee.allow import require_allowed
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.cca.verify import CcaClaims
    from haulout.tee.policy import CcaPolicy

_LIFECYCLES: Final = {
    0x00: "unknown",
    0x10: "assembly and test",
    0x20: "platform provisioning",
    0x30: "secured",
    0x40: "debug of what is not the platform",
    0x50: "recoverable debug of the platform",
    0x60: "decommissioned",
}
"""States of a platform by the upper byte of its lifecycle (draft-ffm-rats-cca-token, section 4.5.5)."""
_SECURED: Final = 0x30


def lifecycle(value: int) -> str:
    """Name the state of a platform."""
    return _LIFECYCLES.get(value >> 8, "undefined")


def require(claims: CcaClaims, policy: CcaPolicy) -> None:
    """Refuse a genuine token that a policy does not allow.

    Raises:
        Refused: the first rule that is broken.
    """
    platform, realm = claims.token.platform, claims.token.realm
    if claims.profile not in policy.profiles:
        raise Refused(Rule.PROFILE, f"its profile {claims.profile} is not one that the policy lists")
    if platform.lifecycle >> 8 != _SECURED:
        raise Refused(
            Rule.LIFECYCLE, f"its platform is not secured: {lifecycle(platform.lifecycle)} ({platform.lifecycle:#06x})"
        )
    require_allowed(Rule.INSTANCE, "its platform", platform.instance, policy.instances)
    require_allowed(Rule.IMPLEMENTATION, "its implementation", platform.implementation, policy.implementations)
    require_allowed(Rule.MEASUREMENT, "its realm's initial measurement", realm.rim, policy.rim)
    for number, (value, allowed) in enumerate(zip(realm.rem, policy.rem, strict=True)):
        require_allowed(Rule.MEASUREMENT, f"its realm's measurement {number}", value, allowed)
    require_allowed(
        Rule.WORKLOAD,
        "its personalization value, the workload's binding,",
        realm.personalization,
        policy.personalization,
    )


def open_questions(policy: CcaPolicy) -> tuple[str, ...]:
    """Name what a policy leaves open, and a reader might think was judged."""
    candidates = {"implementations": policy.implementations, "rim": policy.rim}
    candidates |= {f"rem{number}": allowed for number, allowed in enumerate(policy.rem)}
    candidates |= {"personalization": policy.personalization}
    return tuple(name for name, value in candidates.items() if value is None)
