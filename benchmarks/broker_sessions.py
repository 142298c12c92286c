"""Memory of a broker that has 10,000 idle sessions, and as many idle connections as it takes. Usage: broker_sessions.py [COUNT]."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.brokers import make_folder, serving

BODY = json.dumps({"version": "0.4.0", "tee": "snp", "extra-params": {}}).encode()


def resident(pid: int) -> float:
    """MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def begin(port: int, count: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    done = 0
    for _ in range(count):
        connection.request("POST", "/kbs/v0/auth", BODY)
        answer = connection.getresponse()
        answer.read()
        done += answer.status == 200
    return done


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "state")
        store = make_folder(folder)
        with serving(folder, "--offline", "--client-limit", "1e6/1e6", "--forwarded", plain=True) as server:
            pid = server.process.pid
            begin(server.port, 20)
            first = resident(pid)
            with ThreadPoolExecutor(8) as pool:
                made = sum(pool.map(lambda _: begin(server.port, count // 8), range(8)))
            with store.read() as unit:
                held = unit.overview.sessions(datetime.now(UTC))
            print(f"sessions made {made}, still valid {held}, resident {first:.0f} -> {resident(pid):.0f} MiB")
            idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
            print(f"1000 silent connections: resident {resident(pid):.0f} MiB")
            for one in idle:
                one.settimeout(60)
                one.recv(1)
            print(f"all of them ended by the broker: resident {resident(pid):.0f} MiB")
        with store.write() as unit:
            print(f"swept {unit.attestations.forget(datetime.now(UTC) + timedelta(days=1))}")
        store.close()


if __name__ == "__main__":
    main()
