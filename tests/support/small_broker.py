"""A key broker of a few lines, over real HTTPS: it judges nothing, and fails as a test says."""

from __future__ import annotations

import base64
import secrets
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from haulout.broker.protocol import COOKIE, Attestation, Challenge, Problem, Request

if TYPE_CHECKING:
    from tests.support.servers import TlsFiles


@dataclass
class SmallBroker:
    """What it holds, and what became of each request."""

    url: str
    key: bytes
    secret: bytes = b"passphrase of the disk"
    failures: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    """Status, path's end and headers of answers to give once each, before it does its work."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    attestations: list[Attestation] = field(default_factory=list)
    workloads: list[str | None] = field(default_factory=list)


def spki_of(tls: TlsFiles) -> bytes:
    """Return the public key of a certificate."""
    key = x509.load_pem_x509_certificate(tls.certificate.read_bytes()).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@contextmanager
def small_broker(tls: TlsFiles):
    """Run one."""
    sessions: dict[str, list[Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def answer(self, status, body, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def failed(self):
            broker.requests.append((self.command, self.path))
            for one in broker.failures:
                if self.path.endswith(one[1]):
                    broker.failures.remove(one)
                    self.answer(one[0], Problem("PolicyDeny", "not today", "r-1", one[0]).to_bytes(), one[2])
                    return True
            return False

        def session(self):
            return sessions[self.headers["Cookie"].removeprefix(f"{COOKIE}=")]

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.failed():
                return
            if self.path.endswith("/auth"):
                request = Request.parse(body)
                broker.workloads.append(request.workload)
                name = secrets.token_hex(8)
                nonce = base64.b64encode(secrets.token_bytes(32)).decode()
                challenge = Challenge(nonce, request.selected_hash)
                sessions[name] = [request, challenge, None]
                self.answer(200, challenge.to_bytes(), {"Set-Cookie": f"{COOKIE}={name}; Path=/; Secure"})
            else:
                session, attestation = self.session(), Attestation.parse(body)
                assert attestation.nonce == session[1].nonce
                broker.attestations.append(attestation)
                session[2] = attestation.key
                self.answer(200, b'{"token":"t"}')

        def do_GET(self):
            if not self.failed():
                self.answer(200, self.session()[2].encrypt(broker.secret))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    broker = SmallBroker(f"https://127.0.0.1:{server.server_address[1]}", spki_of(tls))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield broker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
