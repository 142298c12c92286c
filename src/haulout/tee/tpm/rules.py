"""What a policy demands of a genuine quote of a TPM."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidEvidence
from haulout.tee.certificates import read_bundle
from haulout.tee.rules import Allowed, require_allowed
from haulout.tee.verdict import ORIGIN, Refused, Rule

if TYPE_CHECKING:
    from haulout.local import Table
    from haulout.tee.certificates import Certificate
    from haulout.tee.tpm.endorsement import Chip
    from haulout.tee.tpm.parse import TpmQuote
    from haulout.tee.verdict import Anchor

_DIGESTS: Final = (32, 48, 64)
_NAMES: Final = (34, 50, 66)
"""Sizes of a key's name: a hash and its number."""
_BANKS: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
STATIC: Final = 16
"""PCRs 0 to 15 keep what was measured until the next boot; software may reset some of those behind them."""
WORKLOAD_PCR: Final = 8


@dataclass(frozen=True, slots=True)
class TpmPolicy:
    """What a quote has to say.

    Attributes:
        roots: of makers of TPMs, by the fingerprint of their certificates: those that are trusted, and no others.
        authorities: certificates of makers, so that they need not come with the evidence.
        aks: names of attestation keys that are trusted without a certificate.
    """

    roots: frozenset[str] = frozenset()
    authorities: tuple[Certificate, ...] = ()
    aks: Allowed = None
    eks: Allowed = None
    manufacturers: tuple[str, ...] = ()
    pcrs: tuple[Allowed, ...] = (None,) * STATIC
    workload: Allowed = None
    workload_pcr: int = WORKLOAD_PCR


STRICT: Final = TpmPolicy()


def read_policy(table: Table) -> TpmPolicy:
    """Read the section ``[tpm]``.

    Raises:
        InvalidPolicy: a key has an impossible value.
    """
    authorities = _authorities(table)
    roots = {one.hex() for one in table.digests("roots", (32,)) or ()}
    return TpmPolicy(
        # Whoever lists a root's certificate means to trust it.
        roots=frozenset(roots | {one.fingerprint for one in authorities if one.self_issued}),
        authorities=authorities,
        aks=table.digests("aks", _NAMES),
        eks=table.digests("eks", (32,)),
        manufacturers=() if table.listed("manufacturers") is None else table.texts("manufacturers"),
        pcrs=tuple(table.digests(f"pcr{number}", _DIGESTS) for number in range(STATIC)),
        workload=table.digests("workload", _DIGESTS),
        workload_pcr=table.number("workload-pcr", WORKLOAD_PCR, STATIC - 1),
    )


def _authorities(table: Table) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    for text in table.listed("authorities") or ():
        try:
            found += read_bundle(str(text).encode(), "authorities")
        except InvalidEvidence as exc:
            raise table.wrong("authorities", exc.reason, hint="list certificates in PEM") from exc
        except Refused as exc:
            raise table.wrong("authorities", exc.refusal.reason) from exc
    return tuple(found)


@dataclass(frozen=True, slots=True)
class TpmClaims(Document):
    """What a genuine quote says.

    Attributes:
        anchor: the root of the TPM's certificate, or the attestation key itself where the policy names it.
        chip: the TPM; None where only its attestation key is known.
    """

    quote: TpmQuote
    anchor: Anchor
    chip: Chip | None

    json_members: ClassVar = (
        *ORIGIN,
        "ek=chip.fingerprint",
        "manufacturer=chip.manufacturer",
        "model=chip.model",
        "version=chip.version",
    )


def require(claims: TpmClaims, policy: TpmPolicy) -> tuple[str, ...]:
    """Refuse a genuine quote that a policy does not allow.

    Returns:
        what the policy leaves open, and a reader might think was verified.

    Raises:
        Refused: the first rule that is broken.
    """
    chip = claims.chip
    if policy.eks is not None:
        if chip is None:
            raise Refused(Rule.CHIP_NOT_ALLOWED, "its endorsement key is not known, but the policy lists some")
        require_allowed(Rule.CHIP_NOT_ALLOWED, "its endorsement key", bytes.fromhex(chip.fingerprint), policy.eks)
    if policy.manufacturers and (chip is None or chip.manufacturer not in policy.manufacturers):
        maker = "not known" if chip is None or not chip.manufacturer else repr(chip.manufacturer)
        raise Refused(Rule.PRODUCT_NOT_ALLOWED, f"its TPM's maker is {maker}, which the policy does not list")
    for number, allowed in enumerate(policy.pcrs):
        if allowed is not None:
            _require_pcr(claims.quote, number, Rule.MEASUREMENT, f"its PCR {number}", allowed)
    if policy.workload is not None:
        extended = frozenset(extend(bytes(len(one)), one) for one in policy.workload)
        what = f"its PCR {policy.workload_pcr}, the workload's binding,"
        _require_pcr(claims.quote, policy.workload_pcr, Rule.WORKLOAD, what, extended)
    candidates = {
        "pcr0 to pcr15": next((one for one in policy.pcrs if one is not None), None),
        "workload": policy.workload,
    }
    return tuple(name for name, value in candidates.items() if value is None)


def extend(value: bytes, digest: bytes) -> bytes:
    """Return a PCR after a digest was extended into it, in the bank whose digests have this length."""
    bank = next(name for name, size in _BANKS.items() if size == len(value))
    return hashlib.new(bank, value + digest).digest()


def _require_pcr(quote: TpmQuote, number: int, rule: Rule, what: str, allowed: frozenset[bytes]) -> None:
    """Require that a PCR has an allowed value, in every bank for which values are listed, and at least in one."""
    sizes = {len(one) for one in allowed}
    found = {bank: value for bank, value in quote.pcr(number).items() if len(value) in sizes}
    if not found:
        raise Refused(rule, f"its quote leaves out PCR {number}, or has it in other banks than the policy")
    for bank, value in found.items():
        require_allowed(rule, f"{what} in {bank}", value, allowed)


def machine(claims: TpmClaims) -> str:
    """Name the TPM by its endorsement key, or where that is not known by its attestation key."""
    return claims.quote.ak.name.hex() if claims.chip is None else claims.chip.fingerprint
