"""Brokers for tests: in this process without HTTP, or as a server of its own; and an emulated guest that asks them."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.support.bindings import BINDING
from tests.support.evidence import BOOT, snp
from tests.support.servers import free_port
from tests.support.workload_policies import bound, document

from haulout.broker import Management, make
from haulout.broker.app import Broker, Folder, Settings
from haulout.broker.protocol import (
    COOKIE,
    Attestation,
    Challenge,
    Evidence,
    PrivateKey,
    Request,
    ResourcePath,
    SigningKey,
    report_data,
)
from haulout.broker.stores import Keyring, Store
from haulout.emulator.snp import SnpState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

URL = "https://broker.example.com"
SECRET = b"the passphrase of the disk"
PATH = ResourcePath("default", "key", "1")
POLICY = document(snp_section=bound())
"""Accepts the image of epoch 1 that an emulated SEV-SNP guest booted."""


def keyring() -> Keyring:
    """Make a keyring in memory."""
    return Keyring({"kek-1": bytes(range(32))})


@contextmanager
def stored(url: str, wrapper: Keyring | None = None) -> Iterator[Store]:
    """Open a new database with its tables and a signing key."""
    store = Store(url, wrapper or keyring())
    try:
        store.migrate()
        with store.write() as unit:
            unit.signing_keys.add(SigningKey.generate(), datetime.now(UTC))
            unit.owners.add("alice", datetime.now(UTC))
            unit.owners.add("bob", datetime.now(UTC))
        yield store
    finally:
        store.close()


def broker_of(store: Store, now: Callable[[], datetime] | None = None, **settings: Any) -> Broker:
    """Make a broker without HTTP."""
    made = Broker(store, Folder(), Settings(URL, **settings))
    if now is not None:
        made.now = now
    return made


def register(
    store: Store, workload: str = "w1", *, policy: bytes = POLICY, path: ResourcePath = PATH, owner="alice"
) -> Management:
    """Register a workload with a policy and one resource."""
    management = Management(store, owner)
    management.add(workload)
    management.set_policy(workload, policy)
    management.put(workload, path, SECRET)
    return management


@dataclass
class Guest:
    """An emulated SEV-SNP guest; ``tamper`` changes its evidence before it is sent."""

    state: SnpState = field(default_factory=lambda: SnpState(host_data=host_data()))
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    tamper: Callable[[bytes], bytes] = bytes

    def answer(self, challenge: Challenge) -> Attestation:
        """Answer a challenge."""
        report = snp().report(report_data(challenge.nonce, self.key.public, challenge.hash), BOOT, self.state)
        evidence = Evidence(self.tamper(report), (snp().certificates(),))
        return Attestation.of(challenge, "snp", self.key.public, evidence)

    def attest(self, broker: Broker, workload: str | None = None) -> tuple[str, str]:
        """Attest; return cookie and token."""
        cookie, challenge = broker.auth(Request("snp", workload=workload), "192.0.2.1")
        return cookie, broker.attest(cookie, self.answer(challenge), "192.0.2.1")

    def fetch(self, broker: Broker, path: ResourcePath = PATH, workload: str | None = None) -> bytes:
        """Attest and get a resource."""
        cookie, _ = self.attest(broker, workload)
        return self.key.decrypt(broker.release(cookie, None, path, "192.0.2.1"))


def host_data(epoch: int = 1) -> bytes:
    """HOST_DATA of the image of an epoch, as in ``workload_policies``."""
    return replace(BINDING, root=bytes([epoch]) * 32).host_data


@dataclass
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Server:
    """A broker's server process.

    Attributes:
        folder: of the broker.
        port: where it listens.
        certificate: by which clients verify it; None: plain HTTP.
    """

    folder: Path
    port: int
    certificate: Path | None
    process: subprocess.Popen[bytes]

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        cookie: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if cookie is not None:
            sent["Cookie"] = f"{COOKIE}={cookie}"
        if self.certificate is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        else:
            context = ssl.create_default_context(cafile=str(self.certificate))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(
                response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def begin(self, workload: str | None = None) -> tuple[str, Challenge]:
        """Begin a session; return cookie and challenge."""
        found = self.ask("POST", "/kbs/v0/auth", Request("snp", workload=workload).to_bytes())
        assert found.status == 200, found
        return found.headers["set-cookie"].partition(";")[0].partition("=")[2], Challenge.parse(found.body)

    def fetch(self, guest: Guest, path: ResourcePath = PATH, workload: str | None = None) -> bytes:
        """Attest and get a resource, all over HTTP."""
        cookie, challenge = self.begin(workload)
        attested = self.ask("POST", "/kbs/v0/attest", guest.answer(challenge).to_bytes(), cookie=cookie)
        assert attested.status == 200, attested
        released = self.ask("GET", path.url_path, cookie=cookie)
        assert released.status == 200, released
        return guest.key.decrypt(released.body)


def make_folder(folder: Path, *, database: str | None = None) -> Store:
    """Make a broker's folder with two owners, alice and bob; return its open database."""
    store = make(folder, "https://127.0.0.1:8443", database, datetime.now(UTC)).store()
    with store.write() as unit:
        for name in ("alice", "bob"):
            unit.owners.add(name, datetime.now(UTC))
    return store


@contextmanager
def serving(folder: Path, *options: str, port: int = 0, plain: bool = False) -> Iterator[Server]:
    """Run ``haulout broker serve``."""
    port = port or free_port()
    more = ["--no-tls"] if plain else []
    command = [
        sys.executable,
        "-m",
        "haulout",
        "broker",
        "serve",
        "--state",
        str(folder),
        "--listen",
        f"127.0.0.1:{port}",
    ]
    with (folder / f"log-{port}").open("wb") as log:
        process = subprocess.Popen([*command, *more, *options], stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert b"listening on" in line, (folder / f"log-{port}").read_text()
        yield Server(folder, port, None if plain else folder / "tls.pem", process)
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
