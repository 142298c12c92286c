"""Keys of brokers."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import UsageError
from haulout.workload.binding import broker_key


def test_keys_of_brokers():
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = public.public_numbers()

    def b64(number):
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    jwk = json.dumps({"kty": "EC", "crv": "P-256", "x": b64(numbers.x), "y": b64(numbers.y)}).encode()
    assert broker_key(pem, "key") == broker_key(jwk, "key") == der
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(UsageError, match="private key"):
        broker_key(private, "key")
    with pytest.raises(UsageError, match="private key"):
        broker_key(json.dumps({**json.loads(jwk), "d": "x"}).encode(), "key")
    weak = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(UsageError, match="too weak"):
        broker_key(
            weak.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), "key"
        )


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda data: b"{" + data)))
def test_what_is_no_key_is_said_so(data):
    with pytest.raises(UsageError):
        broker_key(data, "key")
