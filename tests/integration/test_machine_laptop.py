"""What a company's network asks of a machine, for real: its own CA, and a proxy with a password. ``make test-machines``."""

from __future__ import annotations

import base64
import os
import shlex
import socketserver
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.machines import machines, until
from tests.support.servers import docker_registry, issue_tls, needs

IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    needs("podman", "docker-registry", "qemu-system-x86_64"),
    pytest.mark.skipif(not IMAGE, reason="takes minutes: make test-machines"),
]
SECRET = "s3cret"


@contextmanager
def proxy_server():
    """A proxy that refuses everything, and remembers each request line with its credentials."""
    asked: list[tuple[str, str]] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            head = [self.rfile.readline().decode().strip()]
            while line := self.rfile.readline().decode().strip():
                head.append(line)
            given = next((each for each in head if each.lower().startswith("proxy-authorization: basic ")), "")
            asked.append((head[0], base64.b64decode(given.rpartition(" ")[2]).decode()))
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()


def test_a_ca_and_a_proxy_of_the_host_reach_the_guest_and_leave_it(tmp_path):
    tls = issue_tls(tmp_path / "tls", ("10.0.2.2", "127.0.0.1"))
    with (
        machines(tmp_path) as place,
        docker_registry(tmp_path, tls=tls) as registry,
        proxy_server() as (port, asked),
    ):
        place.environment.update(
            HTTP_PROXY=f"http://me:{SECRET}@127.0.0.1:{port}", HTTPS_PROXY=f"http://me:{SECRET}@localhost:{port}"
        )

        # podman wants the files that are named to exist.
        place.environment.pop("REGISTRY_AUTH_FILE", None)
        place.environment.pop("DOCKER_CONFIG")

        def run(command, code=0):
            done = subprocess.run(
                ["bash", "-c", command], cwd=place.path, env=place.environment, capture_output=True, text=True,
                timeout=1000, check=False,
            )  # fmt: skip
            assert code is None or done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
            return done.stdout + done.stderr

        def pull(reference):
            """What podman in the guest says of an image, as user and as root."""
            runtime = place.environment["XDG_RUNTIME_DIR"]
            urls = (f"unix://{runtime}/haulout/web/{name}.sock" for name in ("podman", "podman-root"))
            return [run(f"podman --remote --url {url} pull {reference}", None) for url in urls]

        run(f"haulout push oci:m:1 {shlex.quote(str(Path(IMAGE).resolve()))} --arch x86_64 --type qemu")
        run(f"haulout machine init web oci:m:1 --cpus 2 --memory 1024 --disk 4 --ca {tls.ca}")
        run("haulout machine start web --no-connect --wait 900")
        for said in pull(f"10.0.2.2:{registry.port}/none:1"):
            assert "manifest unknown" in said, "it was asked over TLS that the guest trusts"
        verify = f"openssl s_client -verify_return_error -connect 10.0.2.2:{registry.port} </dev/null"
        # OpenSSL finds it by a link, which a slow guest makes after the start: "it goes on with that".
        verify = f"haulout machine ssh web -- sh -c {shlex.quote(verify)} 2>&1"
        until(lambda: "Verification: OK" in run(verify, None), 240)
        assert asked == [], "this host is reached without the proxy"
        pull("registry.invalid/none:1")
        assert {("CONNECT registry.invalid:443 HTTP/1.1", f"me:{SECRET}")} == set(asked)
        assert len(asked) >= 2
        asked.clear()
        run("haulout machine ssh web --user root -- apt-get update", None)
        assert any(line.startswith("GET http://") and who == f"me:{SECRET}" for line, who in asked), asked
        login = "haulout machine ssh web -- bash -lc 'echo $https_proxy'"
        assert run(login) == f"http://me:{SECRET}@10.0.2.2:{port}\n"
        readable = (
            f"haulout machine ssh web --user root -- find / -xdev -type f -perm -o+r -exec grep -l {SECRET} {{}} +"
        )
        assert run(f"{readable} 2>/dev/null", None) == "", "no file that everybody reads has the password"
        here = run(f"haulout machine inspect web --json; grep -rl {SECRET} {tmp_path}/data; ps -eo args", None)
        assert SECRET not in here.replace(f"grep -rl {SECRET}", "")

        run("haulout machine set web --ca none --proxy none && haulout machine restart web")
        for said in pull(f"10.0.2.2:{registry.port}/none:1"):
            assert "unknown authority" in said
        assert run(login) == "\n"
