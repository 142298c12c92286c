"""Three brokers on one PostgreSQL behind nginx: one is killed in the middle of a session, and the guest gets its key."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pytest
from tests.support.brokers import PATH, SECRET, Guest, Server, make_folder, register, serving
from tests.support.postgres import needs_postgres, postgres
from tests.support.servers import find, free_port, issue_tls, needs

from haulout.broker.audit import verify_log

pytestmark = [pytest.mark.tools, pytest.mark.long, needs("nginx"), needs_postgres]


@contextmanager
def nginx(home, ports):
    """Share requests out among brokers; one that does not answer is left out."""
    port = free_port()
    tls = issue_tls(home / "tls")
    servers = "\n".join(f"server 127.0.0.1:{each} max_fails=1 fail_timeout=60s;" for each in ports)
    scratch = "\n".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = home / "nginx.conf"
    config.write_text(f"""
daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  {scratch} access_log off; client_body_buffer_size 1m;
  upstream brokers {{ {servers} }}
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};
    location / {{
      proxy_pass http://brokers;
      proxy_next_upstream error timeout;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header Host $http_host;
    }}
  }}
}}
""")
    program = find("nginx")
    assert program is not None
    process = subprocess.Popen([program, "-p", str(home), "-c", str(config), "-e", str(home / "error.log")])
    try:
        yield port, tls
    finally:
        process.terminate()
        process.wait(60)


def test_a_guest_gets_its_key_while_instances_are_killed(tmp_path):
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres())
        folder = tmp_path / "state"
        store = make_folder(folder, database=cluster.database("broker"))
        stack.callback(store.close)
        register(store)
        instances = [stack.enter_context(serving(folder, "--forwarded", plain=True)) for _ in range(3)]
        port, tls = stack.enter_context(nginx(tmp_path, [each.port for each in instances]))
        front = Server(folder, port, tls.ca, instances[0].process)
        _wait(front)

        assert front.fetch(Guest()) == SECRET
        # Whoever served a step is killed before the next one.
        guest = Guest()
        cookie, challenge = front.begin()
        _kill(instances[0])
        attested = front.ask("POST", "/kbs/v0/attest", guest.answer(challenge).to_bytes(), cookie=cookie)
        assert attested.status == 200, attested
        _kill(instances[1])
        released = front.ask("GET", PATH.url_path, token=attested.json["token"])
        assert guest.key.decrypt(released.body) == SECRET
        # One is left, and serves new guests.
        assert front.fetch(Guest()) == SECRET
        # A nonce answered at one instance is not accepted at another.
        again = front.ask("POST", "/kbs/v0/attest", guest.answer(challenge).to_bytes(), cookie=cookie)
        assert again.status == 401

        with store.read() as unit:
            rows = list(unit.audit.rows())
            assert unit.workloads.get("w1").releases == 3
        assert verify_log(rows).whole
        assert {row.entry.client for row in rows if row.entry.event == "release"} == {"127.0.0.1"}


def _kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(60)


def _wait(server):
    for _ in range(2400):
        try:
            server.ask("GET", "/openapi.json")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("nginx does not answer")
