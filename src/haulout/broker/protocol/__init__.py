"""The messages of the key broker service protocol 0.4.0: functions of bytes; brokers and guests share them.

What a guest does::

    challenge = Challenge.parse(post("/kbs/v0/auth", Request("snp").to_bytes()))  # and keep the cookie
    key = PrivateKey.generate()
    evidence = Evidence(attest(report_data(challenge.nonce, key.public, challenge.hash)), certificates)
    post("/kbs/v0/attest", Attestation.of(challenge, "snp", key.public, evidence).to_bytes())
    secret = key.decrypt(get(ResourcePath("default", "luks", "passphrase").url_path))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.broker.protocol.errors import InvalidMessage
    from haulout.broker.protocol.evidence import FORMS, Evidence
    from haulout.broker.protocol.keys import PrivateKey, PublicKey
    from haulout.broker.protocol.members import MAX_BODY, Members
    from haulout.broker.protocol.messages import (
        COOKIE,
        HASHES,
        NONCE_BYTES,
        VERSION,
        Attestation,
        Challenge,
        InitData,
        Request,
        TpmKeys,
        report_data,
    )
    from haulout.broker.protocol.problems import MEDIA_TYPE, STATUS, Problem, Rejected, Trouble
    from haulout.broker.protocol.resources import ResourcePath
    from haulout.broker.protocol.token import SigningKey, Token, verify_token

__all__ = [
    "COOKIE",
    "FORMS",
    "HASHES",
    "MAX_BODY",
    "MEDIA_TYPE",
    "NONCE_BYTES",
    "STATUS",
    "VERSION",
    "Attestation",
    "Challenge",
    "Evidence",
    "InitData",
    "InvalidMessage",
    "Members",
    "PrivateKey",
    "Problem",
    "PublicKey",
    "Rejected",
    "Request",
    "ResourcePath",
    "SigningKey",
    "Token",
    "TpmKeys",
    "Trouble",
    "report_data",
    "verify_token",
]

open_face(
    __name__,
    {
        "errors": ("InvalidMessage",),
        "evidence": ("FORMS", "Evidence"),
        "keys": ("PrivateKey", "PublicKey"),
        "members": ("MAX_BODY", "Members"),
        "messages": (
            "COOKIE",
            "HASHES",
            "NONCE_BYTES",
            "VERSION",
            "Attestation",
            "Challenge",
            "InitData",
            "Request",
            "TpmKeys",
            "report_data",
        ),
        "problems": ("MEDIA_TYPE", "STATUS", "Problem", "Rejected", "Trouble"),
        "resources": ("ResourcePath",),
        "token": ("SigningKey", "Token", "verify_token"),
    },
)
