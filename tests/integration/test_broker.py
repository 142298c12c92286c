"""A broker as a server: the whole way over HTTPS, what owners may do, and its command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import click
import pytest
from tests.support.brokers import PATH, POLICY, SECRET, Guest, make_folder, register, serving
from tests.support.sandbox import ROOT

from haulout.broker.protocol import Problem, ResourcePath
from haulout.cli.tree import Verb, Verbs
from haulout.cli.tree import haulout as tree

TOKENS = {"alice": "token-of-alice", "bob": "token-of-bob"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broker") / "state"
    store = make_folder(folder)
    give_tokens(store)
    register(store)
    store.close()
    with serving(folder) as found:
        yield found


def give_tokens(store):
    from datetime import UTC, datetime

    from haulout.broker import digest_of

    with store.write() as unit:
        for owner, token in TOKENS.items():
            unit.owners.credit(owner, digest_of(token), "token", datetime.now(UTC))


def test_a_guest_gets_its_key_over_https(server):
    assert server.fetch(Guest()) == SECRET
    assert server.fetch(Guest(), workload="w1") == SECRET


def test_a_refusal_says_nothing_of_the_reason_and_names_the_request(server):
    cookie, challenge = server.begin()
    answer = server.ask(
        "POST",
        "/kbs/v0/attest",
        Guest(tamper=lambda r: r[:-512] + bytes(512)).answer(challenge).to_bytes(),
        cookie=cookie,
    )
    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.parse(answer.body, answer.status)
    assert problem.instance.startswith("urn:haulout:request:")
    assert "signature" not in problem.detail


@pytest.mark.parametrize(
    "path",
    [
        "/kbs/v0/resource/../../etc/passwd",
        "/kbs/v0/resource/a/%2e%2e/c",
        "/kbs/v0/resource/a/b/c%00",
        "/kbs/v0/resource/a/b/c%2fd",
    ],
)
def test_paths_that_are_no_names_of_resources(server, path):
    assert server.ask("GET", path, cookie="x").status in {401, 404}


def test_owners_manage_their_workloads_and_see_no_others(server):
    mine, other = {"token": TOKENS["bob"]}, {"token": TOKENS["alice"]}
    made = server.ask("PUT", "/v1/workloads/bobs", **mine)
    assert (made.status, made.json["owner"], made.json["policy"]) == (201, "bob", None)
    assert server.ask("PUT", "/v1/workloads/bobs/policy", POLICY, **mine).json["policy"]["version"] == 1
    put = server.ask("PUT", "/v1/workloads/bobs/resources/bobs/key/1", b"secret of bob", **mine)
    assert put.status == 204
    upload = server.ask("POST", "/kbs/v0/resource/bobs/key/2", b"as Trustee does", **mine)
    assert upload.status == 200
    assert server.ask("GET", "/v1/workloads/bobs/resources", **mine).json == ["bobs/key/1", "bobs/key/2"]
    assert server.ask("GET", "/v1/workloads/bobs/policy", **mine).body == POLICY
    assert [row["id"] for row in server.ask("GET", "/v1/workloads", **mine).json] == ["bobs"]
    assert server.fetch(Guest(), ResourcePath("bobs", "key", "1")) == b"secret of bob"

    def strip(answer):
        return answer.status, {**answer.json, "instance": ""}

    for method, path, body in (
        ("GET", "/v1/workloads/{}", None),
        ("DELETE", "/v1/workloads/{}", None),
        ("GET", "/v1/workloads/{}/policy", None),
        ("GET", "/v1/workloads/{}/policies", None),
        ("PUT", "/v1/workloads/{}/policy", POLICY),
        ("PUT", "/v1/workloads/{}/resources/bobs/key/1", b"mine now"),
        ("DELETE", "/v1/workloads/{}/resources/bobs/key/1", None),
        ("PUT", "/v1/workloads/{}/list", b"{}"),
    ):
        theirs = server.ask(method, path.format("bobs"), body, **other)
        nobodys = server.ask(method, path.format("nobodys"), body, **other)
        assert theirs.status == 404
        assert strip(theirs) == strip(nobodys)
    # Nor may one overwrite what another registered.
    assert server.ask("PUT", "/v1/workloads/bobs", **other).status == 409
    assert server.ask("PUT", "/v1/workloads/w1/resources/bobs/key/1", b"mine now", **other).status == 409
    assert server.fetch(Guest(), ResourcePath("bobs", "key", "1")) == b"secret of bob"
    log = server.ask("GET", "/v1/log", **mine)
    assert {json.loads(line)["owner"] for line in log.body.splitlines()} == {"bob"}
    assert b"secret of bob" not in log.body


def test_without_an_owners_token_nothing_is_managed(server):
    for method, path in (
        ("GET", "/v1/workloads"),
        ("PUT", "/v1/workloads/w1/policy"),
        ("POST", PATH.url_path),
        ("GET", "/v1/log"),
        ("POST", "/kbs/v0/resource-policy"),
        ("POST", "/kbs/v0/attestation-policy"),
    ):
        for token in (None, "wrong", "é", "a" * 5000):
            answer = server.ask(method, path, b"" if method != "GET" else None, headers=_bearer(token))
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def _bearer(token):
    return {} if token is None else {"Authorization": f"Bearer {token}".encode().decode("latin-1")}


def test_every_documented_operation_is_served_and_answers_in_its_own_words(server):
    document = server.ask("GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0"
    for path, operations in document["paths"].items():
        for method in operations:
            answer = server.ask(method.upper(), re.sub(r"{\w+}", "x", path), b"" if method in {"post", "put"} else None)
            assert answer.status in {400, 401}, (method, path, answer)
        answer = server.ask("PATCH", re.sub(r"{\w+}", "x", path))
        assert (answer.status, answer.headers["content-type"]) == (405, "application/problem+json")


def test_nothing_secret_is_in_the_servers_log(server):
    # Of all requests of this module.
    log = (server.folder / f"log-{server.port}").read_bytes()
    for secret in (SECRET, b"secret of bob", *(token.encode() for token in TOKENS.values())):
        assert secret not in log


def run(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "haulout", *words], cwd=cwd, capture_output=True, timeout=240, check=False
    )


def test_the_examples_of_the_help_run_as_they_stand(tmp_path):
    assert isinstance(tree, Verbs)
    context = click.Context(tree)
    group = tree.get_command(context, "broker")
    assert isinstance(group, Verbs)
    assert run(*shlex.split("broker init --state broker --url https://127.0.0.1:8443"), cwd=tmp_path).returncode == 0
    verbs = [group.get_command(context, name) for name in group.verbs]
    shown = {example.command for verb in verbs if isinstance(verb, Verb) for example in verb.examples}
    for command in sorted({*shown, *(example.command for example in group.examples)}):
        words = shlex.split(command)[1:]
        if words[1] in {"serve", "forecast", "log"}:
            continue  # all of this module is about the first, test_broker_owners.py about the others
        (tmp_path / "alice.token").unlink(missing_ok=True)
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)


def test_the_json_of_each_verb_has_the_documented_members(tmp_path):
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/json.md").read_text()))
    for words in ("init --url https://127.0.0.1:8443", "owner alice --token-out token"):
        done = run("broker", *shlex.split(words), "--state", "state", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert set(json.loads(done.stdout)) <= {*documented, "schema", "verb"}


def test_a_token_is_written_once_and_is_in_no_output(tmp_path):
    run("broker", "init", "--state", "state", "--url", "https://127.0.0.1:8443", cwd=tmp_path)
    done = run("broker", "owner", "alice", "--state", "state", "--token-out", "token", cwd=tmp_path)
    token = (tmp_path / "token").read_bytes().strip()
    assert len(token) >= 43
    assert token not in done.stdout + done.stderr
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    again = run("broker", "owner", "alice", "--state", "state", "--token-out", "token", cwd=tmp_path)
    assert again.returncode == 10


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("serve --state nowhere", 4),
        ("init --state state --url broker.example.com", 2),
        ("init --state state --url https://broker.example.com --database mysql://x/y", 2),
        ("serve --state nowhere --listen 8443", 2),
        ("owner alice --state nowhere", 4),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_hint(tmp_path, words, code):
    done = run("broker", *shlex.split(words), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
