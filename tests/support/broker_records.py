"""A broker's database with generated workloads, machines and decisions: no word in it is about anybody."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from haulout.broker.audit import Entry
from haulout.broker.policy import parse
from haulout.broker.protocol import SigningKey
from haulout.broker.sessions import digest_of
from haulout.broker.stores import Keyring, Store
from haulout.tee import stamp

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TOKENS = {"shop": "token-of-shop-0123456789abcdef", "lab": "token-of-lab-0123456789abcdef"}
TOO_LOW = "SNP firmware 22 is reported; the policy requires at least 23"


TDX = """[tdx]
mrconfigid = ["{binding}"]
mrtd = ["{measured}"]
rtmr1 = ["{measured}"]
rtmr2 = ["{measured}"]"""
"""Only the first workload runs on two kinds of processors."""


def new_store(folder: Path) -> Store:
    """A migrated database without anything but a signing key."""
    store = Store(f"sqlite:///{folder / 'broker.db'}", Keyring({"first": bytes(range(32))}))
    store.migrate()
    with store.write() as unit:
        unit.signing_keys.add(SigningKey.generate(), NOW)
    return store


def chip(number: int) -> str:
    """The name of a machine."""
    return f"snp:{hashlib.sha512(b'chip %d' % number).hexdigest()}"


def policy_of(number: int, release: str = "") -> bytes:
    """A policy for one SNP image."""
    binding, measured = (hashlib.sha384(b"%d" % (number + add)).hexdigest() for add in (0, 100))
    return f"""schema = 1
name = "policy {number}"
[snp]
products = ["Genoa"]
host-data = ["{binding[:64]}"]
measurements = ["{measured}"]
{TDX.format(binding=binding, measured=measured) if not number else ""}
[release]
{release}
""".encode()


def fill(store: Store, *, now: datetime = NOW) -> None:
    """Two owners; the first has workloads with and without policies, and machines in each state."""
    with store.write() as unit:
        for owner, token in TOKENS.items():
            unit.owners.add(owner, now)
            unit.owners.credit(owner, digest_of(token), "token", now)
        for number, (workload, owner, release) in enumerate(
            (
                ("web-frontend", "shop", ""),
                ("payments", "shop", 'releases = 500\nnot-after = "2026-12-31T23:59:59Z"'),
                ("ledger-archive", "shop", ""),
                ("experiment", "lab", ""),
            )
        ):
            unit.workloads.add(workload, owner, now - timedelta(days=40))
            if workload != "ledger-archive":
                document = policy_of(number, release)
                digest = parse(document).digest
                unit.workloads.set_policy(workload, document, digest, now - timedelta(days=30))
        for number in range(9):
            _attempt(unit, now, number, "web-frontend", "shop", hours=1 + number % 5)
        for number in range(9, 12):
            _attempt(unit, now, number, "payments", "shop", hours=30 + 20 * number)
            _attempt(unit, now, number, "payments", "shop", hours=3, rule="tcb-floor", words=TOO_LOW)
        _attempt(unit, now, 12, "payments", "shop", hours=75)
        _attempt(unit, now, 13, "experiment", "lab", hours=2)
        _attempt(
            unit,
            now,
            14,
            "experiment",
            "lab",
            hours=1,
            rule="measurement",
            words="<b>its measurement is not listed</b>",
        )


def _attempt(
    unit: object,
    now: datetime,
    machine: int,
    workload: str,
    owner: str,
    *,
    hours: float,
    rule: str = "allowed",
    words: str = "",
) -> None:
    refused = rule != "allowed"
    if not refused:
        unit.workloads.count_release(workload)  # type: ignore[attr-defined]
    for event in ("attest",) if refused else ("attest", "release"):
        unit.audit.append(  # type: ignore[attr-defined]
            Entry(
                at=stamp(now - timedelta(hours=hours)),
                event=event,
                decision="refused" if refused else "allowed",
                rule=rule,
                words=words or "the evidence satisfies the policy",
                workload=workload,
                owner=owner,
                session=hashlib.sha256(b"%d" % machine).hexdigest(),
                client=f"192.0.2.{machine}",
                tee="snp",
                machine=chip(machine),
                evidence=f"sha256:{hashlib.sha256(b'evidence %d' % machine).hexdigest()}",
            )
        )
