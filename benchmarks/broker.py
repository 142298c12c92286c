"""Keys a second that a broker releases: attestation → key of emulated SEV-SNP guests, over HTTPS on loopback.

Usage: python benchmarks/broker.py [--seconds N] [--clients N] [--instances N,N] [--database sqlite,postgresql] [--sessions N]. The
load comes from processes on the same machine; what they compute (evidence, the guest's keys, decryption) is made before, as far as
it can be, and their share of the processors is printed. A guest sends three requests (auth, attest, resource) on one connection that
stays open, as guests behind a proxy do; each has a new nonce, key and report. Vendors' certificates are sent by the guest and known.

Beside it, on the same machine: verdicts on such reports alone, and a bare Starlette endpoint behind the same server and TLS.
Exits 1 where a key is wrong, or an answer is neither a key nor "not now".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.broker_lab import SECRET, Lab, policy_for, snp_chain, snp_evidence, snp_report
from tests.support.postgres import postgres, programs
from tests.support.servers import free_port
from tests.support.trustee_client import TeeKey, runtime_digest

from haulout.tee import Given, parse_policy, verify

WANTED, WANTED_P99 = 150.0, 150.0
"""Keys a second on two processors that the load shares; milliseconds at 16 clients."""
AUTH = json.dumps(
    {"version": "0.4.0", "tee": "snp", "extra-params": {"supported-hash-algorithms": ["sha384"]}}
).encode()


async def exchange(streams: Any, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send a request and read the answer."""
    reader, writer = streams
    writer.write(f"{head}\r\nHost: broker\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lines = answer.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def guest(
    port: int, ca: Path, keys: list[TeeKey], until: float, found: list[tuple[float, float]], bad: list[str]
) -> None:
    """Attest and fetch, again and again; keep when each began, and how long it took."""
    context = ssl.create_default_context(cafile=str(ca))
    streams: Any = None
    number = 0
    while time.monotonic() < until:
        if streams is None:
            streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20)
        key = keys[number % len(keys)]
        number += 1
        began = time.monotonic()
        try:
            status, headers, body = await exchange(streams, "POST /kbs/v0/auth HTTP/1.1", AUTH)
            if status != 200:
                bad.append(f"auth: {status}")
                continue
            cookie = headers["set-cookie"].partition(";")[0]
            nonce = json.loads(body)["nonce"]
            document = {
                "runtime-data": {"nonce": nonce, "tee-pubkey": key.jwk},
                "tee-evidence": {
                    "primary_evidence": snp_evidence(runtime_digest(nonce, key.jwk)),
                    "additional_evidence": "",
                },
            }
            text = json.dumps(document).encode()
            status, _, body = await exchange(streams, f"POST /kbs/v0/attest HTTP/1.1\r\nCookie: {cookie}", text)
            if status != 200:
                bad.append(f"attest: {status} {body[:120]!r}")
                continue
            status, headers, body = await exchange(
                streams, f"GET /kbs/v0/resource/w1/key/disk HTTP/1.1\r\nCookie: {cookie}"
            )
        except (OSError, asyncio.IncompleteReadError):
            bad.append("the connection broke")
            streams = None
            continue
        if status != 200:
            bad.append(f"resource: {status} {body[:120]!r}")
            continue
        found.append((began, time.monotonic() - began))
        if number % 16 == 0 and key.decrypt(body) != SECRET:
            bad.append("a wrong key")


def load(ports: list[int], ca: str, clients: int, seconds: float, start: Any, results: Any) -> None:
    """One process of guests."""
    keys = [TeeKey.make() for _ in range(8)]
    snp_report(bytes(48))
    start.wait()
    found: list[tuple[float, float]] = []
    bad: list[str] = []

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(guest(ports[n % len(ports)], Path(ca), keys, until, found, bad) for n in range(clients)))

    spent = time.process_time()
    asyncio.run(all_of_them())
    results.put((found, bad, time.process_time() - spent))


def processors(pid: int) -> float:
    """Seconds of processor time that a process and its children have had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(lab: Lab, instances: list[Any], clients: int, seconds: float) -> dict[str, float]:
    """Put load on instances; return rate, percentiles and the use of processors."""
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    ports = [each.port for each in instances]
    worker = context.Process(target=load, args=(ports, str(lab.ca), clients, seconds, start, results))
    worker.start()
    before = sum(processors(each.process.pid) for each in instances)
    start.set()
    found, bad, spent = results.get()
    worker.join()
    used = sum(processors(each.process.pid) for each in instances) - before
    if bad:
        print(f"    {len(bad)} that failed; the first: {bad[0]}")
    times = sorted(1000 * took for _, took in found)
    # The first tenth warms caches.
    if len(times) < 20:
        return {"rate": 0, "bad": len(bad)}
    return {
        "rate": len(found) / seconds,
        "p50": statistics.median(times),
        "p99": times[int(0.99 * len(times))],
        "server": used / seconds,
        "load": spent / seconds,
        "bad": len([one for one in bad if not one.startswith(("auth: 503", "attest: 503", "resource: 503"))]),
    }


def verdicts(seconds: float) -> float:
    """Verdicts on reports a second, in this process alone."""
    now = datetime.now(UTC)
    made = [snp_report(os.urandom(48)) for _ in range(50)]
    text = policy_for("w1", "snp").partition(b"[release]")[0]
    policy, chain = parse_policy(text), [Given(f"certificate {n}", one) for n, one in enumerate(snp_chain())]
    count, begin = 0, time.monotonic()
    while time.monotonic() - begin < seconds:
        report = made[count % 50]
        assert verify(report, at=now, certificates=chain, policy=policy, report_data=report[0x50:0x90]).accepted
        count += 1
    return count / (time.monotonic() - begin)


def idle_sessions(lab: Lab, instance: Any, wanted: int) -> None:
    """Begin sessions that nobody goes on with."""
    begin, before = time.monotonic(), instance.resident()

    async def some(count: int) -> None:
        context = ssl.create_default_context(cafile=str(lab.ca))
        streams = await asyncio.open_connection("127.0.0.1", instance.port, ssl=context)
        for _ in range(count):
            status, _, _ = await exchange(streams, "POST /kbs/v0/auth HTTP/1.1", AUTH)
            assert status == 200, status
        streams[1].close()

    async def every() -> None:
        await asyncio.gather(*(some(wanted // 16) for _ in range(16)))

    asyncio.run(every())
    seconds, after = time.monotonic() - begin, instance.resident()
    size = sum(each.stat().st_size for each in lab.folder.iterdir() if each.name.startswith("broker.db"))
    print(
        f"  {wanted} idle sessions: {wanted / seconds:.0f} begun a second; memory {before >> 20} → {after >> 20} MiB "
        f"(wanted: at most 300), database {size / 1e6:.1f} MB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--instances", default="1,2,3")
    parser.add_argument("--database", default="sqlite,postgresql")
    parser.add_argument("--sessions", type=int, default=10_000)
    given = parser.parse_args()
    busy = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors; load before: {busy:.1f}")
    alone = verdicts(min(given.seconds, 5))
    print(f"  verdicts alone, one process: {alone:.0f}/s")
    wrong = 0.0
    with tempfile.TemporaryDirectory(prefix="haulout-bench-") as folder, ExitStack() as stack:
        for database in given.database.split(","):
            url = None
            if database == "postgresql":
                if programs() is None:
                    print("  postgresql: not installed")
                    continue
                url = stack.enter_context(postgres()).database("bench")
            lab = Lab(Path(folder) / database, url)
            for count in map(int, given.instances.split(",")):
                with ExitStack() as running:
                    ports = [lab.port, *(free_port() for _ in range(count - 1))]
                    instances = [running.enter_context(lab.serving(port)) for port in ports]
                    lab.owner().register("w1", "snp")
                    measure(lab, instances, given.clients, 2)  # warms caches
                    found = measure(lab, instances, given.clients, given.seconds)
                    wrong += found["bad"]
                    print(
                        f"  {database:10} {count} instance{'s' if count > 1 else ' '} {found['rate']:6.1f} keys/s  "
                        f"p50 {found.get('p50', 0):5.0f} ms  p99 {found.get('p99', 0):5.0f} ms  processors: server "
                        f"{found.get('server', 0):.2f}, load {found.get('load', 0):.2f}  1/{alone / max(found['rate'], 1):.1f} of verdicts"
                        f"  (wanted: {WANTED:.0f}/s, {WANTED_P99:.0f} ms)"
                    )
                    if count == 1 and database == "sqlite" and given.sessions:
                        idle_sessions(lab, instances[0], given.sessions)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"  load after: {os.getloadavg()[0]:.1f}; this process used {memory} MiB")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
