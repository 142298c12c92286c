"""Real servers on loopback for tests: a docker-registry, alone or behind nginx, with or without passwords and TLS.

Each is a context manager that yields a running :class:`Server` and ends exactly the process it began. Example::

    with docker_registry(tmp_path, auth=("anna", "secret")) as server:
        ...  # server.host is "127.0.0.1:PORT"
        assert server.count("GET", "/blobs/") == 1
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 10.0
_ACCESS = re.compile(r'"([A-Z]+) (\S+) HTTP/[0-9.]+" (\d{3}) (\d+|-)')


@dataclass(frozen=True)
class TlsFiles:
    """A throw-away authority and a certificate for localhost and the loopback addresses."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Access:
    """One line of an access log."""

    method: str
    path: str
    status: int
    sent: int
    """Body bytes the server sent."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    host: str
    """``127.0.0.1:PORT``, as a reference is written."""
    scheme: str
    log: Path
    tls: TlsFiles | None = None
    root: Path | None = None
    """Where the registry keeps its files; None for a proxy."""
    pid: int = 0
    auth: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """``http[s]://127.0.0.1:PORT``."""
        return f"{self.scheme}://{self.host}"

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def log_lines(self) -> list[str]:
        """Everything the server has logged so far."""
        return self.log.read_text(errors="replace").splitlines()

    def accesses(self) -> list[Access]:
        """The requests answered so far."""
        found = (_ACCESS.search(line) for line in self.log_lines())
        return [Access(m[1], m[2], int(m[3]), 0 if m[4] == "-" else int(m[4])) for m in found if m]

    def count(self, method: str | None = None, contains: str = "") -> int:
        """How many requests were answered, by method and a part of the path."""
        return sum(1 for a in self.accesses() if method in {None, a.method} and contains in a.path)


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip, naming what is missing, where a program is not installed."""
    missing = [program for program in programs if find(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def find(program: str) -> str | None:
    """Find a program, daemons' directories included."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def issue_tls(directory: Path, names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")) -> TlsFiles:
    """Make an authority and a certificate for some names and addresses."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    leaf = authority.issue_cert(*names)
    files = TlsFiles(directory / "ca.crt", directory / "server.crt", directory / "server.key")
    authority.cert_pem.write_to_path(str(files.ca))
    leaf.private_key_pem.write_to_path(str(files.key))
    for number, part in enumerate(leaf.cert_chain_pems):
        part.write_to_path(str(files.certificate), append=number > 0)
    return files


@contextmanager
def docker_registry(
    tmp_path: Path,
    *,
    auth: tuple[str, str] | None = None,
    tls: TlsFiles | bool | None = None,
    root: Path | None = None,
    environment: dict[str, str] | None = None,
    port: int | None = None,
    deletes: bool = True,
) -> Iterator[Server]:
    """Run Debian's docker-registry.

    Args:
        tmp_path: a directory for its files; several servers may share it.
        auth: user and password that every request must carry (htpasswd).
        tls: files to serve HTTPS with; True makes them.
        root: where to keep blobs; give the same again to restart with the same content.
        environment: more settings, in the registry's ``REGISTRY_…`` form.
        port: a fixed port, for restarting where clients expect it.
        deletes: whether manifests may be deleted; by default, docker-registry refuses.
    """
    program = find("docker-registry")
    if program is None:
        pytest.skip("not installed: docker-registry")
    number = port or free_port()
    home = tmp_path / f"registry-{number}"
    home.mkdir(exist_ok=True)
    storage = root or home / "root"
    if tls is True:
        tls = issue_tls(home / "tls")
    lines = [
        "version: 0.1",
        "log: {level: warn, accesslog: {disabled: false}}",
        f"storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: {str(deletes).lower()}}}}}",
        "http:",
        f"  addr: 127.0.0.1:{number}",
    ]
    if isinstance(tls, TlsFiles):
        lines.append(f"  tls: {{certificate: {tls.certificate}, key: {tls.key}}}")
    if auth is not None:
        htpasswd = home / "htpasswd"
        htpasswd.write_text(_htpasswd(*auth))
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {htpasswd}}}}}")
    config = home / "config.yml"
    config.write_text("\n".join(lines) + "\n")
    with _running([program, "serve", str(config)], home, number, environment) as (process, log):
        yield Server(f"127.0.0.1:{number}", "https" if tls else "http", log, tls or None, storage, process.pid, auth)


@contextmanager
def nginx(
    tmp_path: Path,
    upstream: Server,
    *,
    ranges: Literal["pass", "off", "force"] = "pass",
    tls: TlsFiles | bool | None = None,
    extra: str = "",
) -> Iterator[Server]:
    """Run nginx as a reverse proxy in front of ``upstream``.

    Args:
        tmp_path: a directory for its files.
        upstream: the server behind it.
        ranges: hand Range through, answer every range with 200 and everything, or let nginx itself cut ranges.
        tls: files to serve HTTPS with; True makes them.
        extra: directives for the ``location /`` block, such as ``limit_rate 1m;``.
    """
    program = find("nginx")
    if program is None:
        pytest.skip("not installed: nginx")
    number = free_port()
    home = tmp_path / f"nginx-{number}"
    home.mkdir()
    if tls is True:
        tls = issue_tls(home / "tls")
    access = home / "access.log"
    access.touch()
    range_lines = {
        "pass": "",
        "off": 'proxy_set_header Range ""; proxy_hide_header Accept-Ranges; max_ranges 0;',
        "force": 'proxy_set_header Range ""; proxy_force_ranges on;',
    }[ranges]
    listen = f"listen 127.0.0.1:{number}"
    if isinstance(tls, TlsFiles):
        listen += f" ssl; ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key}"
    scratch = "\n".join(
        f"  {kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = home / "nginx.conf"
    config.write_text(
        f"""
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
{scratch}
  access_log {access};
  server {{
    {listen};
    client_max_body_size 0;
    location / {{
      proxy_pass {upstream.url};
      proxy_ssl_verify off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      {range_lines}
      {extra}
    }}
  }}
}}
"""
    )
    argv = [program, "-p", str(home), "-c", str(config), "-e", str(home / "error.log")]
    with _running(argv, home, number, None) as (process, _):
        scheme = "https" if tls else "http"
        yield Server(f"127.0.0.1:{number}", scheme, access, tls or None, None, process.pid, upstream.auth)


def _htpasswd(user: str, password: str) -> str:
    program = find("htpasswd")
    if program is None:
        pytest.skip("not installed: htpasswd")
    done = subprocess.run(
        # Cost 4 is the least bcrypt has: each request of a test pays for it.
        [program, "-inBC", "4", user],
        input=password,
        capture_output=True,
        text=True,
        check=True,
        timeout=START_SECONDS,
    )
    return done.stdout.strip() + "\n"


@contextmanager
def _running(
    argv: list[str], home: Path, port: int, environment: dict[str, str] | None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = home / "server.log"
    with ExitStack() as stack:
        out = stack.enter_context(log.open("ab"))
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none", **(environment or {})},
            cwd=home,
        )
        try:
            _wait_listening(process, port, log)
            yield process, log
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def _wait_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen on {port}:\n{log.read_text(errors='replace')[-2000:]}")
