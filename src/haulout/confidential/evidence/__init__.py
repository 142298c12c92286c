"""Evidence of SEV-SNP, TDX and Arm CCA: is it genuine, and does it say what a policy demands?

Everything here is a pure function of bytes, policy and time: no file, no network, no clock.

:func:`verify` answers with a :class:`Verdict`. It needs the packages ``cryptography`` and ``cbor2``.
"""

from haulout.confidential.packages import require

require("cryptography", "cbor2")

from haulout.confidential.evidence.judge import Given, Verdict, verify  # noqa: E402 - only where the packages are
from haulout.confidential.evidence.policy import Policy  # noqa: E402
from haulout.confidential.evidence.policy import parse as parse_policy  # noqa: E402
from haulout.confidential.evidence.verdict import Kind, Refusal, Rule  # noqa: E402

__all__ = ["Given", "Kind", "Policy", "Refusal", "Rule", "Verdict", "parse_policy", "verify"]
