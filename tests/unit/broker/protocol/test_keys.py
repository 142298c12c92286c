"""Keys of guests: which are accepted, and that what is encrypted to them follows the RFCs."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from haulout.broker.protocol import InvalidMessage, PrivateKey, PublicKey


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "==")


@pytest.mark.parametrize("curve", ["P-256", "P-521", "RSA"])
def test_a_secret_reaches_the_key_it_is_encrypted_to_and_no_other(curve):
    key = PrivateKey.generate(curve)
    sealed = key.public.encrypt(b"secret")
    assert key.decrypt(sealed) == b"secret"
    assert b"secret" not in sealed
    with pytest.raises(InvalidMessage):
        PrivateKey.generate(curve).decrypt(sealed)


@pytest.mark.parametrize(("curve", "size"), [(ec.SECP256R1(), 32), (ec.SECP521R1(), 66)])
def test_ecdh_es_as_rfc_7518_has_it(curve, size):
    # Decrypted by other code: Concat KDF, AES key wrap and AES-GCM put together here.
    private = ec.generate_private_key(curve)
    numbers = private.public_key().public_numbers()
    name = {32: "P-256", 66: "P-521"}[size]
    jwk = {
        "kty": "EC",
        "crv": name,
        "alg": "ECDH-ES+A256KW",
        "x": b64(numbers.x.to_bytes(size, "big")),
        "y": b64(numbers.y.to_bytes(size, "big")),
    }
    message = json.loads(PublicKey.parse(jwk).encrypt(b"key of the disk"))
    assert set(message) == {"protected", "encrypted_key", "iv", "ciphertext", "tag"}
    header = json.loads(unb64(message["protected"]))
    assert (header["alg"], header["enc"], header["epk"]["crv"]) == ("ECDH-ES+A256KW", "A256GCM", name)
    x, y = (int.from_bytes(unb64(header["epk"][each]), "big") for each in "xy")
    shared = private.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, curve).public_key())
    name_and_lengths = b"\0\0\0\x0eECDH-ES+A256KW" + bytes(8) + (256).to_bytes(4, "big")
    wrapping = ConcatKDFHash(hashes.SHA256(), 32, name_and_lengths).derive(shared)
    content = AESGCM(aes_key_unwrap(wrapping, unb64(message["encrypted_key"])))
    text = unb64(message["ciphertext"]) + unb64(message["tag"])
    assert content.decrypt(unb64(message["iv"]), text, message["protected"].encode()) == b"key of the disk"


EC = PrivateKey.generate().public.jwk
RSA = PrivateKey.generate("RSA").public.jwk


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        EC | {"alg": "RSA-OAEP-256"},
        EC | {"alg": "ECDH-ES"},
        EC | {"crv": "P-384"},
        EC | {"crv": "P-521"},
        EC | {"x": b64(bytes(32)), "y": b64(bytes(32))},
        EC | {"x": EC["y"], "y": EC["x"]},
        EC | {"x": EC["x"] + "="},
        EC | {"x": ""},
        EC | {"x": 7},
        EC | {"d": EC["x"]},
        EC | {"kid": "a"},
        {key: value for key, value in EC.items() if key != "y"},
        RSA | {"alg": "RSA1_5"},
        RSA | {"alg": "RSA-OAEP"},
        RSA | {"e": b64(b"\x03")},
        RSA | {"n": RSA["n"][:160]},
        RSA | {"n": RSA["n"] * 2},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "A256KW"},
        {"kty": "OKP", "crv": "X25519", "x": EC["x"], "alg": "ECDH-ES+A256KW"},
    ],
    ids=range(20),
)
def test_keys_that_are_refused(jwk):
    with pytest.raises(InvalidMessage):
        PublicKey.parse(jwk)


@pytest.mark.parametrize("part", ["protected", "encrypted_key", "iv", "ciphertext", "tag"])
def test_a_response_that_was_changed_does_not_decrypt(part):
    key = PrivateKey.generate()
    message = json.loads(key.public.encrypt(b"secret"))
    first = message[part][0]
    for changed in ("", ("A" if first != "A" else "B") + message[part][1:], message[part] + "!"):
        with pytest.raises(InvalidMessage):
            key.decrypt(json.dumps(message | {part: changed}).encode())


def test_a_response_by_another_algorithm_is_refused():
    key = PrivateKey.generate()
    message = json.loads(key.public.encrypt(b"secret"))
    header = json.loads(unb64(message["protected"])) | {"alg": "dir"}
    with pytest.raises(InvalidMessage):
        key.decrypt(json.dumps(message | {"protected": b64(json.dumps(header).encode())}).encode())


def test_the_private_half_is_not_shown():
    assert "_key" not in repr(PrivateKey.generate())
