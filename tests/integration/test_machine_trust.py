"""What a guest is told of a company's network, told to this Debian in a mount namespace: its tools trust it, and forget it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.support.servers import docker_registry, issue_tls, needs

from haulout.machine.guest import proxy, trust

pytestmark = [
    pytest.mark.tools,
    needs("docker-registry", "update-ca-certificates", "curl", "git", "skopeo", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount namespace, as root"),
]
PLACES = ("/etc", "/usr/local/share")


def test_curl_git_and_podmans_library_trust_a_ca_and_forget_it(tmp_path):
    tls = issue_tls(tmp_path / "tls", ("127.0.0.1",))
    certificates = trust.read_authorities([str(tls.ca), "host"]).certificates
    proxies = proxy.proxy_for_guest("host", {"https_proxy": "http://me:s3cret@localhost:3128"})
    with docker_registry(tmp_path, tls=tls) as registry:
        ask = (
            f"curl -sS --noproxy '*' {registry.url}/v2/; git ls-remote {registry.url}/x.git; "
            f"skopeo inspect docker://{registry.host}/none:1; "
            f"openssl s_client -verify_return_error -connect {registry.host} </dev/null | grep ^Verif; "
            "bash -lc 'echo \"login $https_proxy\"'; apt-config dump Acquire::https::Proxy; echo --"
        )
        text = "".join(
            f"{trust.script(pems)}\n{proxy.script(variables)}\n{ask}\n"
            for pems, variables in (((), {}), (certificates, proxies.variables), ((), {}))
        )
        copies = "".join(
            f"mkdir -p {place} {tmp_path}{place} && cp -a {place}/. {tmp_path}{place} && mount --bind {tmp_path}{place} {place}\n"
            for place in PLACES
        )
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-s"],
            input=f"set -eu\n{copies}set +e; changed=\n(\n{text}\n) 2>&1", capture_output=True, text=True, timeout=100,
            check=False, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"},
        )  # fmt: skip
    assert done.stderr == ""
    before, during, after, _ = done.stdout.split("--\n")
    for said in (before, after):
        assert "curl: (60)" in said
        assert "certificate verification failed" in said or "SSL certificate problem" in said, "git"
        assert "certificate signed by unknown authority" in said
        assert "Verification: OK" not in said
        assert "login \n" in said
        assert "s3cret" not in said
    assert during.startswith("{}"), during
    assert "not found" in during
    assert "manifest unknown" in during
    assert "Verification: OK" in during
    assert "login http://me:s3cret@10.0.2.2:3128" in during
    assert 'Acquire::https::Proxy "http://me:s3cret@10.0.2.2:3128";' in during
    assert not Path("/etc/haulout").exists(), "this host was not told"
