"""The roots of trust: whose signature at the end of a chain means that evidence is genuine.

Roots are pinned by the SHA-256 of their DER certificate. There is none for Arm CCA: neither Arm nor anyone else
publishes one, so a policy has to name the platforms, or the roots of their makers, that it trusts.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from haulout.tee.verdict import Anchor, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Collection

    from haulout.tee.certificates import Certificate

EMULATOR: Final = "Haulout Emulator - not a TEE"
"""Organisation in the certificates of emulated platforms, by which a refusal can name them."""


EMULATED: Final = "it was made by an emulator: anyone can make such evidence"

PINNED: Final = (
    Anchor("AMD ARK-Milan", "AMD", "Milan", "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
    Anchor("AMD ARK-Genoa", "AMD", "Genoa", "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
    Anchor("AMD ARK-Turin", "AMD", "Turin", "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"),
    Anchor("Intel SGX Root CA", "Intel", "", "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"),
)


def anchor(root: Certificate, vendor: str, *, product: str = "", trusted: Collection[str] = (), test: bool) -> Anchor:
    """Return the trusted root that a chain ends in.

    Args:
        root: the self-signed certificate at the end; its own signature is verified.
        vendor: whose evidence it is.
        product: the product line that an added root is for.
        trusted: fingerprints that the policy adds.
        test: whether the policy is marked as one for tests.

    Raises:
        Refused: it is not a trusted root.
    """
    for pinned in PINNED:
        if pinned.vendor == vendor and hmac.compare_digest(pinned.fingerprint, root.fingerprint):
            return pinned
    emulated = root.organisation == EMULATOR
    if root.fingerprint in trusted and (test or not emulated):
        return Anchor(f"{root.common_name} (added by the policy)", vendor, product, root.fingerprint, test=test)
    if emulated:
        raise Refused(
            Rule.TEST_ROOT,
            EMULATED,
            hint=f"for tests only, a policy with test = true may name the root {root.fingerprint}",
        )
    raise Refused(
        Rule.ROOT,
        f"its chain ends in {root.common_name!r} ({root.fingerprint[:16]}…), which is not a root of {vendor}",
    )
