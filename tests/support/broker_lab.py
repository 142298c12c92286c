"""A key broker as its users have it: ``haulout broker serve`` in a process of its own, over HTTPS, and guests that attest.

The clients are those of others (trustee_client.py); of haulout there is only the emulator, which makes their evidence.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from tests.support import trustee_evidence
from tests.support.evidence import BOOT, rsa_keys
from tests.support.kbs_http import Answer, Wire
from tests.support.servers import free_port
from tests.support.trustee_client import TrusteeClient, jcs

from haulout.emulator import CcaEmulator, SnpEmulator, TdxEmulator
from haulout.emulator.cca import CcaState
from haulout.emulator.snp import SnpState
from haulout.emulator.tdx import TdxState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.emulator import Platform

SECONDS = 240.0
"""How long anything may take; hosts of continuous integration are slow."""
ROOT = Path(__file__).resolve().parents[2]
SECRET = b"passphrase: 6b1f0c0f-never-in-a-log"


# --- Guests ----------------------------------------------------------------------------------------------------------


@cache
def snp_platform() -> SnpEmulator:
    """An emulated processor whose certificates are valid now."""
    return SnpEmulator.make(datetime.now(UTC), keys=rsa_keys())


@cache
def tdx_platform() -> TdxEmulator:
    return TdxEmulator.make(datetime.now(UTC))


@cache
def cca_platform() -> CcaEmulator:
    return CcaEmulator.make(datetime.now(UTC))


def binding_of(workload: str, tee: str = "snp") -> bytes:
    """What binds a workload: HOST_DATA, MRCONFIGID, or the personalization value."""
    return hashlib.sha512(workload.encode()).digest()[: {"snp": 32, "tdx": 48, "cca": 64}[tee]]


def snp_report(digest: bytes, workload: str = "w1", **state: Any) -> bytes:
    """Make a report with a digest at the beginning of its report data."""
    made = SnpState(host_data=binding_of(workload), **state)
    return snp_platform().report(digest.ljust(64, b"\0"), BOOT, made)


@cache
def snp_chain() -> tuple[bytes, ...]:
    """VCEK, ASK and ARK in DER."""
    platform = snp_platform()
    return tuple(one.certificate.public_bytes(Encoding.DER) for one in (platform.vcek, platform.ask, platform.ark))


def snp_evidence(digest: bytes, workload: str = "w1", **state: Any) -> Any:
    return trustee_evidence.snp(snp_report(digest, workload, **state), *snp_chain())


def tdx_evidence(digest: bytes, workload: str = "w1") -> Any:
    state = TdxState(mrconfigid=binding_of(workload, "tdx"))
    return trustee_evidence.tdx(tdx_platform().quote(digest.ljust(64, b"\0"), BOOT, state))


def cca_evidence(digest: bytes, workload: str = "w1") -> Any:
    state = CcaState(personalization=binding_of(workload, "cca"))
    return trustee_evidence.cca(cca_platform().token(digest.ljust(64, b"\0"), BOOT, state))


EVIDENCE: dict[str, Callable[..., Any]] = {"snp": snp_evidence, "tdx": tdx_evidence, "cca": cca_evidence}


def policy_for(workload: str, *tees: str, release: str = "", top: str = "") -> bytes:
    """Write the policy of a workload for emulated TEEs; without any, for all."""
    lines = ["schema = 1", f'name = "{workload}"', "test = true"]
    platforms: dict[str, Callable[[], Platform]] = {"snp": snp_platform, "tdx": tdx_platform, "cca": cca_platform}
    sections: list[str] = []
    roots: list[str] = []
    for tee in tees or tuple(platforms):
        platform = platforms[tee]()
        made = platform.evidence(BOOT, datetime.now(UTC), bytes(64), binding_of(workload, tee))
        sections += [f"[{tee}]", *made.policy]
        roots.append(platform.root.fingerprint())
    lines.append(f"roots = {json.dumps(roots)}")
    return "\n".join([*lines, top, *sections, "[release]", release, ""]).encode()


# --- Processes -------------------------------------------------------------------------------------------------------


def haulout(*argv: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a verb that has to succeed."""
    command = [sys.executable, "-m", "haulout", *argv]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, (argv, done.stdout, done.stderr)


@dataclass
class Instance:
    """A process that serves.

    Attributes:
        program: what is run instead of ``haulout``, with the same arguments.
    """

    lab: Lab
    port: int
    options: tuple[str, ...] = ()
    program: tuple[str, ...] = ("-m", "haulout")
    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.lab.folder.parent / f"{self.lab.folder.name}-{self.port}.log"

    def launch(self) -> None:
        """Start the process; :meth:`wait` waits until it serves."""
        where = ["--state", str(self.lab.folder), "--listen", f"127.0.0.1:{self.port}"]
        argv = [sys.executable, *self.program, "broker", "serve", *where, *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                preexec_fn=self.before,  # noqa: PLW1509 - limits of the process
            )

    def wait(self) -> Instance:
        """Wait until it accepts connections."""
        assert self.process is not None
        assert self.process.stdout is not None
        watchdog = threading.Timer(SECONDS, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert b"listening on" in line, (line, self.words()[-3000:])
        return self

    def start(self) -> Instance:
        self.launch()
        return self.wait()

    def kill(self) -> None:
        """End it as a power failure would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Tell it to end; return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(SECONDS)
        finally:
            assert process.stdout is not None
            process.stdout.close()

    def words(self) -> str:
        """All that it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def resident(self) -> int:
        """Bytes of memory that it has now."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10


class Lab:
    """A broker with owners alice and bob, and as many instances as are started."""

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.tokens: dict[str, str] = {}
        self.wires: list[Wire] = []
        many = "1000000/1000000"
        self.options: tuple[str, ...] = ("--offline", "--client-limit", many, "--workload-limit", many)
        more = ("--database", database) if database else ()
        haulout("broker", "init", "--state", str(folder), "--url", self.url, *more, folder=folder.parent)
        for name in ("alice", "bob"):
            token = folder.parent / f"{folder.name}-{name}.token"
            haulout("broker", "owner", name, "--state", str(folder), "--token-out", str(token), folder=folder.parent)
            self.tokens[name] = token.read_text().strip()

    @property
    def ca(self) -> Path:
        return self.folder / "tls.pem"

    @property
    def database(self) -> Path:
        return self.folder / "broker.db"

    @property
    def collateral(self) -> Path:
        """What vendors publish about the emulated platforms; made when it is first asked for."""
        place = self.folder.parent / f"{self.folder.name}-collateral"
        if not place.exists():
            place.mkdir()
            (place / "tdx.json").write_bytes(tdx_platform().collateral(datetime.now(UTC)))
            (place / "cca.pem").write_bytes(cca_platform().certificates())
        return place

    def instance(self, port: int | None = None, **more: Any) -> Instance:
        """Return an instance that is not started."""
        return Instance(self, port or self.port, **{**more, "options": (*self.options, *more.get("options", ()))})

    @contextmanager
    def serving(self, port: int | None = None, **more: Any) -> Iterator[Instance]:
        """Run an instance."""
        made = self.instance(port, **more)
        try:
            yield made.start()
        finally:
            self.hang_up()
            made.stop()

    def hang_up(self) -> None:
        """Close the connections of all clients that were made here; they connect again when they are used."""
        for wire in self.wires:
            wire.close()

    def wire(self, url: str | None = None) -> Wire:
        """A connection without credentials."""
        self.wires.append(Wire(url or self.url, self.ca))
        return self.wires[-1]

    def owner(self, name: str = "alice", url: str | None = None) -> Owner:
        return Owner(self.wire(url), self.tokens[name])

    def guest(self, workload: str = "w1", tee: str = "snp", url: str | None = None, **more: Any) -> TrusteeClient:
        """A guest that boots a workload; ``key`` and ``evidence`` may be others."""
        evidence = more.pop("evidence", None) or partial(EVIDENCE[tee], workload=workload)
        made = TrusteeClient(url or self.url, tee, evidence, self.ca, **more)
        self.wires.append(made.wire)
        return made


@dataclass
class Owner:
    """An owner of workloads, with a token."""

    wire: Wire
    token: str = field(repr=False)

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Type": kind} if body is not None else {})
        return self.wire.send(method, path, body, headers)

    def register(
        self, workload: str, *tees: str, secret: bytes = SECRET, release: str = "", path: str | None = None
    ) -> str:
        """Register a workload with a policy and one resource; return the resource's name."""
        path = path or f"{workload}/key/disk"
        for method, where, body, kind in (
            ("PUT", f"/v1/workloads/{workload}", None, ""),
            (
                "PUT",
                f"/v1/workloads/{workload}/policy",
                policy_for(workload, *tees, release=release),
                "application/toml",
            ),
            ("PUT", f"/v1/workloads/{workload}/resources/{path}", secret, "application/octet-stream"),
        ):
            answer = self.send(method, where, body, kind)
            assert answer.status < 300, (where, answer.status, answer.body)
        return path

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the audit log that this owner sees, all of them."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.send("GET", f"/v1/log?after={found[-1]['number'] if found else 0}")
            assert answer.status == 200, answer
            more = [json.loads(line) for line in answer.body.splitlines()]
            found += more
            if not more:
                return found


def audit_of(database: Path) -> list[dict[str, Any]]:
    """Read the whole audit log out of a broker's SQLite."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=SECONDS)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM audit ORDER BY number")]


def broken_links(rows: list[dict[str, Any]]) -> int:
    """Count the rows of a whole log that do not follow from the one before, by docs/formats/audit.md."""
    broken, previous = 0, "0" * 64
    for number, row in enumerate(rows, 1):
        content = jcs({name: value for name, value in row.items() if name not in {"previous", "hash"}})
        expected = hashlib.sha256(bytes.fromhex(previous) + content).hexdigest()
        broken += (row["number"], row["previous"], row["hash"]) != (number, previous, expected)
        previous = row["hash"]
    return broken
