"""Evidence of SEV-SNP, TDX and Arm CCA: is it genuine, and does it say what a policy demands?

Everything here is a pure function of bytes, policy and time: no file, no network, no clock.

:func:`verify` answers with a :class:`Verdict`. It needs the packages ``cryptography`` and ``cbor2``.
"""

from haulout.extras import require

require("cryptography", "cbor2")

from haulout.tee.judge import Given, Verdict, verify  # noqa: E402 - only where the packages are
from haulout.tee.policy import Policy  # noqa: E402
from haulout.tee.policy import parse as parse_policy  # noqa: E402
from haulout.tee.verdict import Kind, Refusal, Rule  # noqa: E402

__all__ = ["Given", "Kind", "Policy", "Refusal", "Rule", "Verdict", "parse_policy", "verify"]
