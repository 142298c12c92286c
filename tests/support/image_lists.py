"""Signed lists of images."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.support.workload_policies import BINDINGS, MEASURED

from haulout.broker.policy import PAYLOAD_TYPE
from haulout.broker.policy.signed import encoded

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def pem(key: Any) -> Any:
    """Write a public key."""
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def payload(*epochs: int, number: int = 1, floor: int = 0, workload: str = "web", **more: Any) -> bytes:
    """Write a list."""
    images = [
        {
            "name": f"1.{epoch}",
            "epoch": epoch,
            "binding": BINDINGS[epoch].to_bytes().decode(),
            "snp": {"measurements": [MEASURED]},
        }
        for epoch in epochs
    ]
    values = {"workload": workload, "number": number, "minimum-epoch": floor, "images": images}
    return json.dumps({**values, **more}).encode()


def envelope(content: bytes, *signatures: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """Put a list into its envelope."""
    listed = [{"keyid": "", "sig": base64.b64encode(one).decode()} for one in signatures]
    values = {"payloadType": kind, "payload": base64.b64encode(content).decode(), "signatures": listed}
    return json.dumps(values).encode()


def signed(content: bytes) -> bytes:
    """Sign a list."""
    return envelope(content, KEY.sign(encoded(content)))


FOLLOWING = f"[follow]\nkeys = ['''{pem(KEY)}''']"
