"""What a policy demands of a genuine CCA token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from haulout.documents import Document
from haulout.tee.cca.parse import SECURED, Profile
from haulout.tee.rules import Allowed, Four, read_four, require_allowed
from haulout.tee.verdict import ORIGIN, Refused, Rule

if TYPE_CHECKING:
    from haulout.local import Table
    from haulout.tee.cca.parse import CcaToken
    from haulout.tee.verdict import Anchor


@dataclass(frozen=True, slots=True)
class CcaPolicy:
    """What an Arm CCA token has to say; ``roots`` and ``platform_keys`` are trusted besides those of the policy."""

    roots: frozenset[str] = frozenset()
    platform_keys: Allowed = None
    profiles: tuple[Profile, ...] = tuple(Profile)
    instances: Allowed = None
    implementations: Allowed = None
    rim: Allowed = None
    rem: Four = (None, None, None, None)
    personalization: Allowed = None


def read_policy(table: Table) -> CcaPolicy:
    """Read the section ``[cca]``.

    Raises:
        InvalidPolicy: a key has an impossible value.
    """
    sizes = (32, 48, 64)
    return CcaPolicy(
        roots=frozenset(one.hex() for one in table.digests("roots", (32,)) or ()),
        platform_keys=table.digests("platform-keys", (32,)),
        profiles=table.choices("profiles", Profile, tuple(Profile)),
        instances=table.digests("instances", (33,)),
        implementations=table.digests("implementations", (32,)),
        rim=table.digests("rim", sizes),
        rem=read_four(table, "rem", sizes),
        personalization=table.digests("personalization", (64,)),
    )


@dataclass(frozen=True, slots=True)
class CcaClaims(Document):
    """What a genuine token says.

    Attributes:
        anchor: the root of the platform's key, or the key itself where it is trusted without a chain.
        platform_key: its fingerprint.
    """

    token: CcaToken
    profile: Profile
    anchor: Anchor
    platform_key: str

    json_members: ClassVar = (*ORIGIN, "platform_key")


def require(claims: CcaClaims, policy: CcaPolicy) -> tuple[str, ...]:
    """Refuse a genuine token that a policy does not allow.

    Returns:
        what the policy leaves open, and a reader might think was verified.

    Raises:
        Refused: the first rule that is broken.
    """
    platform, realm = claims.token.platform, claims.token.realm
    if claims.profile not in policy.profiles:
        raise Refused(Rule.PROFILE, f"its profile {claims.profile} is not one that the policy lists")
    if platform.lifecycle >> 8 != SECURED:
        state = f"{platform.state} ({platform.lifecycle:#06x})"
        raise Refused(Rule.LIFECYCLE, f"its platform is not secured: its state is {state}")
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
    candidates = {"implementations": policy.implementations, "rim": policy.rim}
    candidates |= {f"rem{number}": allowed for number, allowed in enumerate(policy.rem)}
    candidates |= {"personalization": policy.personalization}
    return tuple(name for name, value in candidates.items() if value is None)


def machine(claims: CcaClaims) -> str:
    """Name the platform by its instance ID."""
    return claims.token.platform.instance.hex()
