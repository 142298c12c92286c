"""Does once, with made-up values, what a guest does: run where an initramfs is built, by the Python that goes into it.

It prints the file of every module that was imported on the way. If it fails, so would the guest.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import haulout.guest.init as _  # noqa: F401 - what it imports is what is asked for
from haulout.broker.protocol import Attestation, Challenge, Evidence, PrivateKey, Problem, Request, report_data
from haulout.errors import HauloutError
from haulout.guest.command import command_of
from haulout.guest.devices import DEVICES, Answer, as_answer, read_answer
from haulout.guest.launch import Launch
from haulout.http import PinnedServer
from haulout.local import private_folder, run
from haulout.tee.snp import SIZE
from haulout.workload.binding import Binding
from haulout.workload.luks import read_header


def rehearse() -> None:
    """Do it.

    Raises:
        HauloutError: something fails that must not.
    """
    key = PrivateKey.generate()
    challenge = Challenge("bm9uY2U=")
    Request("snp", ("sha384",), "web").to_bytes()
    report_data(challenge.nonce, key.public, challenge.hash)
    Attestation.of(challenge, "snp", key.public, Evidence(bytes(SIZE), (b"certificate",))).to_bytes()
    assert key.decrypt(key.public.encrypt(b"secret")) == b"secret"
    Problem.parse(b'{"type":"x/PolicyDeny","detail":"no"}', 403)
    read_answer(as_answer(Answer("snp", b"evidence")))
    for find in DEVICES:
        find(Path("/nowhere"))
    for reading in (
        lambda: read_header(io.BytesIO(bytes(4096))),
        lambda: Launch.parse(b"{}"),
        lambda: Binding.parse(b"{}"),
    ):
        with suppress(HauloutError):
            reading()
    command_of(b'{"config":{"Cmd":["x"]}}', "", "")
    run([sys.executable, "--version"] if Path(sys.executable).exists() else ["/bin/true"], seconds=60)
    os.fsdecode("localhost".encode("idna"))
    _ask_a_server()


def _ask_a_server() -> None:
    """Ask a server that knows nothing, over TLS on this machine."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    encoding = serialization.Encoding
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with private_folder("haulout-rehearsal-") as folder:
        form = serialization.PrivateFormat.PKCS8
        both = private.private_bytes(encoding.PEM, form, serialization.NoEncryption())
        (folder / "pem").write_bytes(both + certificate.public_bytes(encoding.PEM))
        context.load_cert_chain(folder / "pem")
    key = private.public_key().public_bytes(encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 404 no\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        PinnedServer(f"https://localhost:{listener.getsockname()[1]}", key).ask("GET", "/")
        thread.join(10)


if __name__ == "__main__":
    rehearse()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None):
            sys.stdout.write(f"{module.__file__}\n")
