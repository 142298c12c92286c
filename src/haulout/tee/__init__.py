"""Evidence of SEV-SNP, TDX and Arm CCA: is it genuine, and does it say what a policy demands?

Everything here is a pure function of bytes, policy and time: no file, no network, no clock.

:func:`verify` answers with a :class:`Verdict`. It needs the packages ``cryptography`` and, for Arm CCA, ``cbor2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.tee.azure import HclReport, Vtpm, VtpmQuote
    from haulout.tee.inputs import Given, Policy
    from haulout.tee.kinds import KINDS, Kind
    from haulout.tee.nonces import as_report_data
    from haulout.tee.policy import parse_policy, read_policy, read_section
    from haulout.tee.publications import KDS, PCS, Needs, Publication, accept, identify, publications
    from haulout.tee.roots import EMULATOR
    from haulout.tee.shortfall import Shortfall
    from haulout.tee.verdict import Anchor, Claims, Refusal, Rule, Span, Statement, Verdict, stamp
    from haulout.tee.verify import objection, verify
    from haulout.tee.wrappings import Unwrapped, certificates_of, unwrap

from haulout.extras import require

require("cryptography")

__all__ = [
    "EMULATOR",
    "KDS",
    "KINDS",
    "PCS",
    "Anchor",
    "Claims",
    "Given",
    "HclReport",
    "Kind",
    "Needs",
    "Policy",
    "Publication",
    "Refusal",
    "Rule",
    "Shortfall",
    "Span",
    "Statement",
    "Unwrapped",
    "Verdict",
    "Vtpm",
    "VtpmQuote",
    "accept",
    "as_report_data",
    "certificates_of",
    "der",
    "identify",
    "objection",
    "parse_policy",
    "publications",
    "read_policy",
    "read_section",
    "stamp",
    "unwrap",
    "verify",
]

open_face(
    __name__,
    {
        "azure": ("HclReport", "Vtpm", "VtpmQuote"),
        "inputs": ("Given", "Policy"),
        "kinds": ("KINDS", "Kind"),
        "nonces": ("as_report_data",),
        "policy": ("parse_policy", "read_policy", "read_section"),
        "publications": ("KDS", "PCS", "Needs", "Publication", "accept", "identify", "publications"),
        "roots": ("EMULATOR",),
        "shortfall": ("Shortfall",),
        "verdict": ("Anchor", "Claims", "Refusal", "Rule", "Span", "Statement", "Verdict", "stamp"),
        "verify": ("objection", "verify"),
        "wrappings": ("Unwrapped", "certificates_of", "unwrap"),
    },
)
