"""A broker as a server: the whole way over HTTPS, what owners may do, and its command line."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from typing import NamedTuple

import click
import pytest
from tests.support.brokers import PATH, POLICY, SECRET, Guest, make_folder, register, serving
from tests.support.sandbox import ROOT

from haulout.broker import Management, Place, digest_of
from haulout.broker.protocol import Problem, ResourcePath
from haulout.cli.main import main
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


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a verb in this process, which has loaded the database already."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = main(["broker", *words])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return call


class Done(NamedTuple):
    """What a verb did."""

    code: int
    out: str
    err: str


def test_the_commands_of_a_broker(run, tmp_path):
    """Their examples run as they stand, and print JSON of documented members."""
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/json.md").read_text()))
    assert isinstance(tree, Verbs)
    context = click.Context(tree)
    group = tree.get_command(context, "broker")
    assert isinstance(group, Verbs)
    shown = {
        name: [example.command for example in verb.examples]
        for name in group.verbs
        if isinstance(verb := group.get_command(context, name), Verb)
    }
    resource = tmp_path / "repository" / "default" / "key" / "1"
    resource.parent.mkdir(parents=True)
    resource.write_bytes(b"secret")

    def follow(name):
        for command in shown[name]:
            done = run(*shlex.split(command)[2:], "--json")
            assert done.code == 0, (command, done.err)
            assert set(json.loads(done.out)) <= {*documented, "schema", "verb"}, command

    for name in ("init", "owner"):
        follow(name)
    store = Place.open(tmp_path / "broker").store()
    Management(store, "alice").add("web")
    store.close()
    for name in ("import", "rotate", "backup", "export"):
        follow(name)
    assert (tmp_path / "resources" / "default" / "key" / "1").read_bytes() == b"secret"
    assert run("init", "--state", "new", "--url", "https://127.0.0.1:8443").code == 0
    refused = run("restore", "broker.backup", "--state", "new")
    assert (refused.code, "not at hand" in refused.err) == (8, True)
    (tmp_path / "new" / "keys").write_bytes((tmp_path / "broker" / "keys").read_bytes())
    follow("restore")
    done = run("export", "again", "--workload", "web", "--state", "new")
    assert (tmp_path / "again" / "default" / "key" / "1").read_bytes() == b"secret", done.err


def test_a_token_is_written_once_and_is_in_no_output(run, tmp_path):
    run("init", "--state", "state", "--url", "https://127.0.0.1:8443")
    done = run("owner", "alice", "--state", "state", "--token-out", "token")
    token = (tmp_path / "token").read_text().strip()
    assert len(token) >= 43
    assert token not in done.out + done.err
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert run("owner", "alice", "--state", "state", "--token-out", "token").code == 10


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("serve --state nowhere", 4),
        ("init --state state --url broker.example.com", 2),
        ("init --state state --url https://broker.example.com --database mysql://x/y", 2),
        ("serve --state nowhere --listen 8443", 2),
        ("owner alice --state nowhere", 4),
        ("serve --state nowhere --no-tls --listen 0.0.0.0:1", 2),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_hint(run, words, code):
    done = run(*shlex.split(words))
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert done.out == ""
