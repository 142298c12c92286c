"""A broker as operators run it: a server process with metrics, readiness, logs, limits, console, and vendors to ask."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from time import monotonic, sleep

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.brokers import PATH, SECRET, Guest, make_folder, register, serving
from tests.support.evidence import BOOT, DATA, snp, tdx
from tests.support.simulators.vendors import vendors

from haulout.broker import digest_of
from haulout.broker.protocol import Evidence
from haulout.broker.stores import Keyring
from haulout.emulator import SnpEmulator

TOKEN = "metrics-token-0123456789"
OWNER = "token-of-alice-that-must-not-be-logged"


def prepare(folder):
    """A broker with one workload, whose owner has a token; return its secrets, which no log may have."""
    store = make_folder(folder)
    with store.write() as unit:
        unit.owners.credit("alice", digest_of(OWNER), "token", datetime.now(UTC))
    register(store)
    with store.read() as unit:
        pem = unit.signing_keys.all()[0].to_pem().decode()
    store.close()
    keys = Keyring.parse((folder / "keys").read_bytes(), "keys").keys
    return [SECRET.decode(), OWNER, TOKEN, *(line for line in pem.splitlines() if len(line) > 40), *keys_as_text(keys)]


def keys_as_text(keys):
    import base64

    for key in keys.values():
        yield base64.b64encode(key).decode()
        yield key.hex()


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("operations") / "state"
    (folder.parent / "token").write_text(TOKEN + "\n")
    return folder, prepare(folder)


@pytest.fixture(scope="module")
def server(state):
    folder, _ = state
    with serving(folder, "--metrics-token-file", str(folder.parent / "token"), "--offline") as found:
        yield found


def metrics(server):
    text = server.ask("GET", "/metrics", token=TOKEN).body.decode()
    return {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_health_readiness_and_metrics(server):
    assert server.ask("GET", "/healthz").body == b"ok\n"
    ready = server.ask("GET", "/readyz")
    assert ready.json == {
        "ready": True,
        "checks": {"database": True, "kek": True, "signing-key": True, "audit": True},
    }
    for token in (None, "", "wrong", TOKEN[:-1]):
        assert server.ask("GET", "/metrics", token=token).status == 404
    assert server.fetch(Guest()) == SECRET
    found = metrics(server)
    assert found["haulout_broker_decisions_total", "allowed", "allowed", "release", "snp"] >= 1
    assert found["haulout_broker_audit_rows",] >= 2
    assert found["haulout_broker_database_errors_total",] == 0


def test_the_console_shows_what_happened(server):
    assert server.fetch(Guest()) == SECRET
    wrong = Guest(tamper=lambda report: report[:0x90] + bytes(48) + report[0xC0:])
    cookie, challenge = server.begin(workload="w1")
    assert server.ask("POST", "/kbs/v0/attest", wrong.answer(challenge).to_bytes(), cookie=cookie).status == 401
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    login = server.ask("POST", "/console/login", f"token={OWNER}".encode(), headers=form)
    cookie = login.headers["set-cookie"].partition(";")[0]
    page = server.ask("GET", "/console", headers={"Cookie": cookie}).body.decode()
    assert "the evidence satisfies the policy" in page
    assert "<code>signature</code>" in page
    assert f"snp:{snp().chip_id.hex()}" in page
    assert server.ask("GET", "/console?workload=other", headers={"Cookie": cookie}).status == 404


def test_no_secret_is_in_any_log(server, state):
    """Everything a broker is given and has, asked for in each way that it can be asked for; then the log is read."""
    folder, secrets = state
    guest = Guest()
    cookie, challenge = server.begin()
    answer = guest.answer(challenge).to_bytes()
    attested = server.ask("POST", "/kbs/v0/attest", answer, cookie=cookie)
    token = attested.json["token"]
    released = server.ask("GET", f"{PATH.url_path}?token={token}", cookie=cookie)
    assert guest.key.decrypt(released.body) == SECRET
    server.ask("GET", PATH.url_path, token=token)
    server.ask("GET", "/v1/workloads", token=OWNER)
    server.ask("POST", "/kbs/v0/attest", answer + b"}", cookie=cookie)
    server.ask("POST", "/kbs/v0/attest", answer, cookie=cookie + "x")
    server.ask("PUT", "/v1/workloads/w1/resources/default/key/2", SECRET, token=OWNER)
    server.ask("PUT", "/v1/workloads/w1/policy", b"secret = " + SECRET, token=OWNER)
    server.ask("POST", f"/console/login?token={OWNER}", f"token={OWNER}".encode())
    text = (folder / f"log-{server.port}").read_text()
    evidence = guest.answer(challenge).to_bytes().decode()
    nonce = json.loads(answer)["runtime-data"]["nonce"]
    for secret in (*secrets, cookie, token, nonce, *re.findall(r"[A-Za-z0-9_+/=-]{60,}", evidence)):
        assert secret not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert len(lines) == len(text.splitlines()), text
    assert {line["logger"] for line in lines} >= {"haulout.broker.access", "haulout.broker.decision"}
    decisions = [
        line for line in lines if line["logger"] == "haulout.broker.decision" and line.get("event") == "release"
    ]
    assert decisions
    assert decisions[-1]["machine"] == f"snp:{snp().chip_id.hex()}"
    # A decision and the request that led to it have the same id, which the client was told.
    request = released.headers["x-request-id"]
    assert {line["logger"] for line in lines if line.get("request") == request} == {
        "haulout.broker.access",
        "haulout.broker.decision",
    }


def test_limits_over_https(state):
    folder, _ = state
    with serving(folder, "--client-limit", "5/0.01", "--offline") as server:
        found = [server.ask("POST", "/kbs/v0/auth", b"{}") for _ in range(7)]
        assert [one.status for one in found] == [400] * 5 + [429] * 2
        assert 0 < int(found[-1].headers["retry-after"]) <= 100
        assert server.ask("GET", "/readyz").status == 200
    with serving(folder, "--workload-limit", "1/0.01", "--offline") as server:
        guest = Guest()
        assert server.fetch(guest) == SECRET
        cookie, challenge = server.begin()
        assert server.ask("POST", "/kbs/v0/attest", guest.answer(challenge).to_bytes(), cookie=cookie).status == 200
        limited = server.ask("GET", PATH.url_path, cookie=cookie)
        assert (limited.status, limited.json["title"]) == (429, "TooManyRequests")
    with pytest.raises(AssertionError), serving(folder, "--client-limit", "0/1"):
        pass


class Bare(Guest):
    """A guest that brings no certificates."""

    def answer(self, challenge):
        full = super().answer(challenge)
        return full.of(challenge, "snp", self.key.public, Evidence(full.parse_evidence("snp").data, ()))


def test_a_guest_without_certificates_gets_its_key_once_they_were_fetched(tmp_path):
    folder = tmp_path / "state"
    prepare(folder)
    with (
        vendors(datetime.now(UTC)) as services,
        serving(folder, "--kds", services.url, "--pcs", services.url) as server,
    ):
        deadline = monotonic() + 240
        statuses = []
        while monotonic() < deadline:
            cookie, challenge = server.begin()
            guest = Bare()
            answer = server.ask("POST", "/kbs/v0/attest", guest.answer(challenge).to_bytes(), cookie=cookie)
            statuses.append(answer.status)
            if answer.status == 200:
                break
            assert 0 < int(answer.headers["retry-after"]) < 60
            sleep(0.2)
        assert statuses[0] == 401
        assert statuses[-1] == 200
        assert server.fetch(Bare()) == SECRET
        assert sum("blSPL" in one for one in services.asked) == 1
    # From then on without any connection, by the same folder.
    with serving(folder, "--offline") as server:
        assert server.fetch(Bare()) == SECRET
    store = make_folder_again(folder)
    with store.read() as unit:
        words = [row.entry.words for row in unit.audit.rows() if row.entry.rule == "certificate-missing"]
    store.close()
    assert f"{services.url}/vcek/v1/Genoa/{snp().chip_id.hex()}?blSPL=04" in words[0]


def make_folder_again(folder):
    from haulout.broker import Place

    return Place.open(folder).store()


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "haulout", "broker", "collateral", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_collateral_at_the_command_line(tmp_path):
    now = datetime.now(UTC)
    snp_file, tdx_file = tmp_path / "report.bin", tmp_path / "quote.bin"
    snp_file.write_bytes(snp().report(DATA, BOOT))
    tdx_file.write_bytes(tdx().quote(DATA, BOOT))
    roots = [f"--test-root={platform.root.fingerprint()}" for platform in (snp(), tdx())]
    cache, other = tmp_path / "cache", tmp_path / "other"
    with vendors(now) as services:
        ask = [f"--cache={cache}", f"--kds={services.url}", f"--pcs={services.url}", *roots]
        status, out, _ = command("fetch", snp_file, tdx_file, "--early", "--json", *ask)
        assert status == 0
        assert len(json.loads(out)["entries"]) == 9
        services.asked.clear()
        assert command("fetch", *ask)[0] == 0
        assert len(services.asked) == 7
        services.broken["/tdx/certification/v4/tcb"] = 404, b""
        status, _, err = command("fetch", tdx_file, *ask)
        assert (status, err.count("\n")) == (4, 1)
        assert "Intel's TCB info of platform 90c06f000000: not found" in err
    status, out, _ = command("list", f"--cache={cache}", *roots)
    assert status == 0
    assert "Intel's TCB info of platform 90c06f000000, as announced" in out
    assert command("list", f"--cache={cache}")[0] == 1
    assert command("import", cache, f"--cache={other}", *roots)[0] == 0
    assert {one.relative_to(other) for one in other.rglob("*.*")} == {
        one.relative_to(cache) for one in cache.rglob("*.*")
    }
    forged = tmp_path / "forged.pem"
    forged.write_bytes(SnpEmulator.make(now).certificates())
    status, _, err = command("import", forged, f"--cache={other}", *roots)
    assert status not in {0, 1, 2}
    assert "emulator" in err
    assert command("import", tmp_path / "none", f"--cache={other}")[0] == 4
    assert command("list", f"--cache={tmp_path / 'empty'}")[0] == 0
