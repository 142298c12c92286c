"""Evidence of SEV-SNP, TDX and Arm CCA: is it genuine, and does it say what a policy demands?

Everything here is a pure function of bytes, policy and time: no file, no network, no clock.

:func:`verify` answers with a :class:`Verdict`. It needs the packages ``cryptography`` and ``cbor2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.tee.cca.keys import ES384
    from haulout.tee.cca.rules import lifecycle
    from haulout.tee.cca.token import CcaToken
    from haulout.tee.cca.verify import EMULATED, GIVEN_KEY
    from haulout.tee.certificates import stamp
    from haulout.tee.der import ENUMERATED, IA5_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE
    from haulout.tee.judge import Claims, Given, Statement, Verdict, verify
    from haulout.tee.policy import Policy, Profile, parse_policy
    from haulout.tee.roots import EMULATOR
    from haulout.tee.snp.endorsement import Signer
    from haulout.tee.snp.report import SIGNED, SIZE, Product, SnpReport, Tcb
    from haulout.tee.snp.verify import SnpClaims
    from haulout.tee.tdx.quote import TdxQuote
    from haulout.tee.tdx.rules import attributes
    from haulout.tee.tdx.verify import TdxClaims
    from haulout.tee.verdict import Kind, Refusal, Rule

from haulout.extras import require

require("cryptography", "cbor2")

__all__ = [
    "EMULATED",
    "EMULATOR",
    "ENUMERATED",
    "ES384",
    "GIVEN_KEY",
    "IA5_STRING",
    "INTEGER",
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "SEQUENCE",
    "SIGNED",
    "SIZE",
    "CcaToken",
    "Claims",
    "Given",
    "Kind",
    "Policy",
    "Product",
    "Profile",
    "Refusal",
    "Rule",
    "Signer",
    "SnpClaims",
    "SnpReport",
    "Statement",
    "Tcb",
    "TdxClaims",
    "TdxQuote",
    "Verdict",
    "attributes",
    "lifecycle",
    "parse_policy",
    "stamp",
    "verify",
]

open_face(
    __name__,
    {
        "cca.keys": ("ES384",),
        "cca.rules": ("lifecycle",),
        "cca.token": ("CcaToken",),
        "cca.verify": ("EMULATED", "GIVEN_KEY"),
        "certificates": ("stamp",),
        "der": ("ENUMERATED", "IA5_STRING", "INTEGER", "OBJECT_IDENTIFIER", "OCTET_STRING", "SEQUENCE"),
        "judge": ("Claims", "Given", "Statement", "Verdict", "verify"),
        "policy": ("Policy", "Profile", "parse_policy"),
        "roots": ("EMULATOR",),
        "snp.endorsement": ("Signer",),
        "snp.report": ("Product", "SIGNED", "SIZE", "SnpReport", "Tcb"),
        "snp.verify": ("SnpClaims",),
        "tdx.quote": ("TdxQuote",),
        "tdx.rules": ("attributes",),
        "tdx.verify": ("TdxClaims",),
        "verdict": ("Kind", "Refusal", "Rule"),
    },
)
