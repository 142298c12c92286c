"""The guest of libkrun up to 1.19, and ``buildah mkcw``: version 0 of the key broker's protocol. Nothing of haulout is here.

Source: init/tee of libkrun at c4192a45^ (kbs_types.c, kbs_curl.c, kbs_crypto.c, snp_attest.c), and buildah's
internal/mkcw/attest.go at 5b1b18ee. The buffers of that client are part of the protocol: what is longer overflows them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.support.kbs_http import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_KEY_URL = 99
LONGEST_CHALLENGE = 0xFFF
LONGEST_PASSPHRASE = 511
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json; charset=utf-8"}


@dataclass
class KrunClient:
    """A guest that wants the passphrase of its disk.

    Attributes:
        report: makes an SNP report of 1184 bytes, for the 64 bytes of report data.
        chain: what the host's certificate table holds, if it has one.
    """

    url: str
    workload: str
    report: Callable[[bytes], bytes]
    ca: Path | None = None
    tee: str = "snp"
    generation: str = "genoa"
    session: str = ""
    nonce: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)
    wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        self.wire = Wire(self.url, self.ca)

    def close(self) -> None:
        self.wire.close()

    def challenge(self) -> Answer:
        """``POST /kbs/v0/auth``."""
        extra = json.dumps({"workload_id": self.workload}, separators=(",", ":"))
        document = {"extra-params": extra, "tee": self.tee, "version": "0.0.0"}
        body = json.dumps(document, separators=(",", ":")).encode()
        answer = self.wire.send("POST", "/kbs/v0/auth", body, _HEADERS)
        if answer.status == 200:
            assert len(answer.body) <= LONGEST_CHALLENGE, "it overflows the client's buffer"
            self.session, self.nonce = answer.cookies["session_id"], answer.json["nonce"]
            assert len(self.session) < 100, "it overflows the client's buffer"
        return answer

    def attest(self) -> Answer:
        """``POST /kbs/v0/attest``; an empty body is success."""
        numbers = self.key.public_key().public_numbers()
        n, e = _number(numbers.n), _number(numbers.e)
        digest = hashlib.sha512(self.nonce.encode() + n.encode() + e.encode()).digest()
        evidence = {"gen": self.generation, "report": self.report(digest).hex(), "cert_chain": "[]"}
        document = {
            "tee-pubkey": {"alg": "RSA", "k-mod": n, "k-exp": e},
            "tee-evidence": json.dumps(evidence, separators=(",", ":")),
        }
        body = json.dumps(document, separators=(",", ":")).encode()
        return self.wire.send("POST", "/kbs/v0/attest", body, {**_HEADERS, "Cookie": f"session_id={self.session}"})

    def ask(self, workload: str | None = None) -> Answer:
        """``GET /kbs/v0/key/WORKLOAD``."""
        path = f"/kbs/v0/key/{self.workload if workload is None else workload}"
        assert len(self.url + path) <= LONGEST_KEY_URL, "it overflows the client's buffer"
        return self.wire.send("GET", path, None, {**_HEADERS, "Cookie": f"session_id={self.session}"})

    def decrypt(self, answer: Answer) -> bytes:
        """Return the passphrase: JSON text, hexadecimal digits, RSA with PKCS#1 v1.5."""
        text = json.loads(answer.body)
        assert isinstance(text, str), answer.body
        found = self.key.decrypt(bytes.fromhex(text), padding.PKCS1v15())
        assert len(found) <= LONGEST_PASSPHRASE
        return found

    def passphrase(self) -> bytes:
        """All of it, as at boot."""
        for step in (self.challenge, self.attest):
            answer = step()
            assert answer.status == 200, (answer.status, answer.body)
        assert answer.body == b"", "the client takes any body for an error"
        answer = self.ask()
        assert answer.status == 200, (answer.status, answer.body)
        return self.decrypt(answer)


def _number(value: int) -> str:
    return base64.b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()


def register(
    wire: Wire, workload: str, measurement: bytes, passphrase: str, *, policy: int = 15, token: str | None = None
) -> Answer:
    """What buildah posts for an SNP workload; it knows no credentials, ``token`` is an addition of proxies in front."""
    config = json.dumps({"flags": {"bits": policy}, "minfw": {"major": 0, "minor": 0}}, separators=(",", ":"))
    document = {
        "workload_id": workload,
        "launch_measurement": measurement.hex(),
        "passphrase": passphrase,
        "tee_config": config,
    }
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return wire.send("POST", "/kbs/v0/register_workload", json.dumps(document).encode(), headers)
