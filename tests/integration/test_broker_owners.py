"""The verbs of owners and of the operator, against a broker that serves: policies, forecasts, lists, the log."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.support.brokers import Answer, Guest, Server, host_data, make_folder, serving
from tests.support.disks import raw_disk
from tests.support.evidence import BOOT, ROOT, snp, tdx
from tests.support.image_lists import FOLLOWING, KEY, envelope, payload, pem, signed
from tests.support.simulators.vendors import vendors
from tests.support.workload_policies import BINDINGS, bound, document, image

import haulout
from haulout.broker.policy import ARTIFACT_TYPE
from haulout.broker.policy.signed import encoded
from haulout.broker.protocol import Attestation, Challenge, Evidence, Request, ResourcePath, report_data
from haulout.brokers import StateFolder, broker_log, broker_owner
from haulout.cli.main import main
from haulout.cli.tree import Verbs
from haulout.cli.tree import haulout as tree
from haulout.emulator.snp import SnpState
from haulout.emulator.tdx import TdxState, default_info

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTED = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/json.md").read_text()))
WEB = ResourcePath("default", "key", "web")


@dataclass
class Desk:
    """A broker that serves, and an owner's shell."""

    server: Server
    folder: Path

    def run(self, *arguments: str, code: int = 0, owner: str = "alice") -> str:
        """Run a verb of the owner's, in this process."""
        environment = {
            "HAULOUT_BROKER": f"https://127.0.0.1:{self.server.port}",
            "HAULOUT_BROKER_TOKEN_FILE": str(self.folder / f"{owner}.token"),
            "HAULOUT_CA_FILE": str(self.server.certificate),
        }
        out, err = io.StringIO(), io.StringIO()
        with patch.dict(os.environ, environment), chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            done = main(["broker", *arguments])
        assert done == code, f"{arguments}\n{out.getvalue()}{err.getvalue()}"
        return out.getvalue() if code in {0, 1} else err.getvalue()

    def json(self, *arguments: str, **more: Any) -> Any:
        """Run a verb; return its result, whose members are documented."""
        found = json.loads(self.run(*arguments, "--json", **more))
        assert set(found) <= {*DOCUMENTED, "schema", "verb"}
        return found

    def write(self, name: str, data: bytes | str) -> str:
        """Write a file into the owner's folder."""
        path = self.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    def fetch(self, guest: Any, path: ResourcePath = WEB) -> bytes:
        """Be a guest."""
        answer = self.attest(guest, path)
        assert answer.status == 200, answer
        return bytes(guest.key.decrypt(answer.body))

    def refused(self, guest: Any, path: ResourcePath = WEB) -> None:
        """Be a guest that is refused."""
        assert self.attest(guest, path).status == 404

    def attest(self, guest: Any, path: ResourcePath) -> Answer:
        """Attest, and ask for a key."""
        begun = self.server.ask("POST", "/kbs/v0/auth", Request(guest.tee).to_bytes())
        cookie = begun.headers["set-cookie"].partition(";")[0].partition("=")[2]
        answer = guest.answer(Challenge.parse(begun.body)).to_bytes()
        attested = self.server.ask("POST", "/kbs/v0/attest", answer, cookie=cookie)
        assert attested.status == 200, attested
        return self.server.ask("GET", path.url_path, cookie=cookie)


class SnpGuest(Guest):
    """An emulated SEV-SNP guest."""

    tee = "snp"


class TdxGuest(Guest):
    """An emulated TDX guest."""

    tee = "tdx"

    def answer(self, challenge):
        quote = tdx().quote(
            report_data(challenge.nonce, self.key.public, challenge.hash),
            BOOT,
            TdxState(mrconfigid=BINDINGS[1].mrconfigid),
        )
        return Attestation.of(challenge, "tdx", self.key.public, Evidence(quote))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owner")
    state = tmp_path_factory.mktemp("state")
    make_folder(state).close()
    for name in ("alice", "bob"):
        broker_owner(state, name, token_out=folder / f"{name}.token")
    with serving(state) as server:
        yield Desk(server, folder)


def guest(epoch: int = 1) -> SnpGuest:
    return SnpGuest(SnpState(host_data=host_data(epoch)))


def test_an_owner_registers_a_workload_and_a_guest_gets_its_key(desk):
    policy, key = desk.write("web.toml", document(snp_section=bound())), desk.write("key", "correct horse\n")
    made = desk.json("workload", "add", "web", "--policy", policy, "--passphrase-file", key)
    assert (made["id"], made["owner"], made["policy"]["version"], made["resources"]) == (
        "web",
        "alice",
        1,
        ["default/key/web"],
    )
    assert desk.fetch(guest()) == b"correct horse"
    shown = desk.run("workload", "show", "web")
    assert "releases   1" in shown
    assert desk.run("workload", "list").split() == ["web", "policy", "1,", "1", "release"]
    assert desk.json("workload", "list", owner="bob")["workloads"] == []
    assert "no" in desk.run("workload", "show", "web", code=4, owner="bob")
    assert "exists already" in desk.run("workload", "add", "web", code=12, owner="bob")


def test_a_policy_is_tried_before_it_is_set(desk):
    desk.refused(guest(2))
    tried = desk.write("tried.toml", document(image(2)))
    found = desk.json("policy", "check", "web", tried, "--since", "1h", code=1)
    assert [(one["before"], one["rule"], one["changed"]) for one in found["attempts"]] == [
        ("allowed", "workload", True),
        ("workload", "allowed", True),
    ]
    assert (found["refused"], found["allowed"]) == (1, 1)
    text = desk.run("policy", "check", "web", tried, code=1)
    assert "would be REFUSED: its HOST_DATA" in text
    assert "would be allowed [allowed], was refused [workload]" in text
    same = desk.write("same.toml", document(image(1)))
    assert desk.json("policy", "check", "web", same)["refused"] == 0
    assert desk.json("policy", "check", "web", same, "--since", "2020-01-01")["attempts"]
    assert desk.json("policy", "check", "web", same, "--since", "0s")["attempts"] == []
    assert desk.json("policy", "history", "web")["versions"][-1]["version"] == 1, "trying it changes nothing"


def test_policies_have_versions(desk):
    second = desk.write("second.toml", document(image(1), release="releases = 2"))
    assert desk.json("policy", "set", "web", second)["policy"]["version"] == 2
    assert [one["version"] for one in desk.json("policy", "history", "web")["versions"]] == [1, 2]
    assert desk.run("policy", "show", "web").encode() == (desk.folder / "second.toml").read_bytes()
    assert desk.run("policy", "show", "web", "--version", "1").encode() == (desk.folder / "web.toml").read_bytes()
    shown = desk.json("policy", "show", "web")
    assert shown["release"]["releases"] == 2
    assert desk.fetch(guest()) == b"correct horse"
    desk.refused(guest())
    last = [json.loads(line) for line in desk.run("log", "--json").splitlines()][-1]
    assert (last["event"], last["decision"], last["rule"]) == ("release", "refused", "releases")
    assert last["words"] == "the policy allows 2 releases; 2 were made"
    broken = desk.write("broken.toml", document(image(1), release="release = 3"))
    assert "release.release: is not a known key" in desk.run("policy", "set", "web", broken, code=2)
    assert "version 9" in desk.run("policy", "show", "web", "--version", "9", code=4)


def test_a_forecast_by_a_higher_floor_names_the_version_that_is_short(desk):
    raised = "\n".join(["[snp.tcb.Genoa]", f"microcode = {snp().tcb.microcode + 2}"])
    floor = desk.write("floor.toml", document(snp_section=f"{bound()}\n{raised}"))
    found = desk.json("forecast", "web", "--policy", floor, code=1)
    (machine,) = [one for one in found["machines"] if one["warns"]]
    assert machine["then"]["rule"] == "tcb-floor"
    assert {(one["part"], one["have"], one["need"]) for one in machine["shortfalls"]} == {
        (f"{name} TCB of Genoa, microcode", snp().tcb.microcode, snp().tcb.microcode + 2)
        for name in ("reported", "committed", "launch")
    }
    text = desk.run("forecast", "web", "--policy", floor, code=1)
    assert "of 1 machine that attested" in text
    assert "update the host's firmware" in text


def test_images_of_a_signed_list_count_until_they_are_dropped(desk):
    desk.run("workload", "add", "shop", "--passphrase-file", desk.write("key2", "battery staple"))
    desk.run("policy", "set", "shop", desk.write("shop.toml", document(more=FOLLOWING)))
    path = ResourcePath("default", "key", "shop")
    desk.refused(guest(1), path)
    assert "follows no list" in desk.run("workload", "follow", "web", desk.write("l", signed(payload(1))), code=2)
    old = desk.write("old.json", signed(payload(1, 2, workload="shop", number=1)))
    new = desk.write("new.json", signed(payload(1, 2, 3, workload="shop", number=2, floor=2)))
    assert [one["epoch"] for one in desk.json("workload", "follow", "shop", old)["images"]] == [1, 2]
    assert desk.fetch(guest(1), path) == b"battery staple"
    assert desk.fetch(guest(2), path) == b"battery staple"
    text = desk.run("workload", "follow", "shop", new)
    assert text.splitlines()[0] == "shop follows list 2, with minimum epoch 2"
    assert "dropped" in text.splitlines()[1]
    desk.refused(guest(1), path)
    assert desk.fetch(guest(3), path) == b"battery staple"
    for name, words in (("old.json", "number 1, but 2"), ("other.json", "none of the keys"), ("web.json", "'web'")):
        if name == "other.json":
            values = json.loads(signed(payload(1, workload="shop", number=3)))
            desk.write(name, json.dumps({**values, "signatures": []}))
        if name == "web.json":
            desk.write(name, signed(payload(1, number=3)))
        assert words in desk.run("workload", "follow", "shop", str(desk.folder / name), code=code_of(name))
    from haulout import attach, push

    del attach, push


def code_of(name: str) -> int:
    """The broker refuses an old list, for it knows the last one; the rest is refused before it is sent."""
    return 2 if name == "old.json" else 8


def test_a_list_is_found_beside_its_image(desk):
    place = f"oci:{desk.folder}/images:1"
    haulout.push(place, raw_disk(desk.folder / "disk.raw"), architecture="x86_64")
    for number in (3, 5, 4):
        file = desk.write(f"list{number}.json", signed(payload(2, 3, workload="shop", number=number, floor=2)))
        haulout.attach(place, file, artifact_type=ARTIFACT_TYPE)
    stranger = desk.write("stranger.json", envelope(payload(3, workload="shop", number=9), b"x" * 64))
    haulout.attach(place, stranger, artifact_type=ARTIFACT_TYPE)
    assert desk.json("workload", "follow", "shop", place)["number"] == 5


def test_other_keys_drop_the_list(desk):
    other = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    path = ResourcePath("default", "key", "shop")
    both = f"[follow]\nkeys = ['''{pem(other)}''', '''{pem(KEY)}''']"
    desk.run("policy", "set", "shop", desk.write("both.toml", document(more=both)))
    assert desk.fetch(guest(3), path) == b"battery staple"
    alone = f"[follow]\nkeys = ['''{pem(other)}''']"
    desk.run("policy", "set", "shop", desk.write("alone.toml", document(more=alone)))
    desk.refused(guest(3), path)
    row = [json.loads(line) for line in desk.run("log", "--json").splitlines()][-1]
    assert row["rule"] == "list-missing"
    content = payload(3, workload="shop", number=1)
    desk.run("workload", "follow", "shop", desk.write("anew.json", envelope(content, other.sign(encoded(content)))))
    assert desk.fetch(guest(3), path) == b"battery staple"


def test_the_operator_verifies_the_log_and_an_owner_reads_theirs(desk):
    state = str(desk.server.folder)
    exported = desk.run("log", "--state", state, "--export")
    whole = desk.json("log", "--state", state, "--verify")
    assert (whole["whole"], whole["rows"]) == (True, len(exported.splitlines()))
    head = whole["head"]
    assert f"head: {head}" in desk.run("log", "--state", state, "--verify", "--head", head)
    file = desk.write("log.jsonl", exported)
    assert desk.json("log", file, "--verify", "--head", head)["whole"]
    lines = exported.splitlines(keepends=True)
    for name, damaged, damage in (
        ("edited", [*lines[:3], lines[3].replace('"allowed"', '"refused"', 1), *lines[4:]], "edited"),
        ("deleted", [*lines[:2], *lines[3:]], "deleted"),
        ("swapped", [lines[1], lines[0], *lines[2:]], "reordered"),
        ("cut", lines[:-1], "truncated"),
    ):
        broken = desk.write(name, "".join(damaged))
        found = desk.json("log", broken, "--verify", "--head", head, code=1)
        assert found["finding"]["damage"] == damage, name
    mine = desk.json("log", "--verify")
    assert mine["whole"]
    assert "deleted rows cannot be found" in mine["notes"][0]
    assert desk.run("log", owner="bob") == ""
    assert "cannot be read" in desk.run("log", desk.write("x", "{}\n"), "--verify", code=8)


def test_a_log_is_followed(desk):
    state = StateFolder(desk.server.folder)
    known = len(list(broker_log(state)))
    rows = broker_log(state, follow=True)
    for _ in range(known):
        last = next(rows)
    desk.refused(guest(5))
    assert [next(rows).number for _ in range(2)] == [last.number + 1, last.number + 2], "attested, then refused"


def test_early_collateral_says_who_is_refused_after_the_recovery(desk, tmp_path):
    at, store = datetime.now(UTC), tmp_path / "collateral"
    store.mkdir()
    (store / "collateral.json").write_bytes(tdx().collateral(at))
    rtmr = "\n".join(f'rtmr{number} = ["{value.hex()}"]' for number, value in enumerate(BOOT.rtmr()))
    section = f'[tdx]\nmrtd = ["{BOOT.mrtd().hex()}"]\nmrconfigid = ["{BINDINGS[1].mrconfigid.hex()}"]\n{rtmr}'
    text = document().decode().replace(snp().ark.fingerprint(), tdx().root.fingerprint())
    policy = desk.write("tdx.toml", text.replace('[snp]\nproducts = ["Genoa"]', section))
    level = default_info(at)["tcbLevels"][0]
    raised = json.loads(json.dumps(level))
    raised["tcb"]["sgxtcbcomponents"][0].update(svn=9, category="BIOS", type="Early Microcode Update")
    make_folder(tmp_path / "state").close()
    broker_owner(tmp_path / "state", "alice", token_out=tmp_path / "alice.token")
    with serving(tmp_path / "state", "--collateral", str(store)) as server, vendors(at) as served:
        other = Desk(server, tmp_path)
        other.run("workload", "add", "web", "--policy", policy, "--passphrase-file", other.write("key", "staple"))
        assert other.fetch(TdxGuest()) == b"staple"
        early = ("forecast", "--collateral", "early", "--pcs", served.url)
        assert other.json(*early)["warnings"] == 0
        assert any("update=early" in target for target in served.asked)
        served.early = {"tcbEvaluationDataNumber": 18, "tcbLevels": [raised, {**level, "tcbStatus": "OutOfDate"}]}
        found = other.json(*early, code=1)
        (machine,) = found["machines"]
        assert machine["machine"].startswith("tdx:")
        assert (machine["today"]["allowed"], machine["then"]["rule"]) == (True, "tcb-status")
        text = other.run(*early, code=1)
        assert "Intel rates its platform OutOfDate" in text
        short = "SGX TCB component 1, Early Microcode Update (BIOS): has 4, needs 9: update the BIOS"
        assert short in text
        file = other.write("next.json", tdx().collateral(at, info=served.early))
        assert short in other.run("forecast", "web", "--collateral", file, code=1)
        served.broken["/tdx/certification/v4/tcb"] = (404, b"")
        assert "note: " in other.run(*early)


def test_what_is_wrong_is_one_clear_line(desk):
    assert "not HTTPS" in desk.run("workload", "list", "--broker", "http://broker.example.com", code=2)
    assert "not the URL" in desk.run("workload", "list", "--broker", "broker.example.com", code=2)
    assert "does not hold a token" in desk.run("workload", "list", "--token-file", desk.write("none", ""), code=2)
    assert "401" in desk.run("workload", "list", "--token-file", desk.write("wrong", "x" * 43), code=5)
    assert "takes a time" in desk.run("policy", "check", "web", "web.toml", "--since", "yesterday", code=2)
    assert "no such file" in desk.run("policy", "set", "web", "missing.toml", code=4)
    assert "REPOSITORY/TYPE/TAG" in desk.run(
        "workload", "add", "a b", "--passphrase-file", str(desk.folder / "key"), code=2
    )
    desk.run("workload", "add", "a b")
    desk.run("workload", "rm", "a b")
    assert "not a head" in desk.run("log", "--verify", "--head", "x", code=2)
    assert "--head needs --verify" in desk.run("log", "--head", "0:" + "0" * 64, code=2)


@pytest.mark.parametrize("path", ["/v1/log", "/v1/workloads/web/attempts"])
def test_a_query_that_is_no_time_or_number_is_refused(desk, path):
    token = (desk.folder / "alice.token").read_text().strip()
    for query, status in (("since=%00", 400), ("since=yesterday", 400), ("after=-1", 400), ("after=1", 200)):
        assert desk.server.ask("GET", f"{path}?{query}", token=token).status == status
    assert desk.server.ask("GET", path).status == 401


def test_a_workload_is_removed_and_its_rows_stay(desk):
    assert desk.run("workload", "rm", "shop").strip() == "removed shop"
    assert "shop" not in desk.run("workload", "list")
    assert any(json.loads(line)["workload"] == "shop" for line in desk.run("log", "--json").splitlines())
    assert "no" in desk.run("workload", "rm", "shop", code=4)


def test_the_examples_of_the_help_run_as_they_stand(desk):
    files = {
        "web.toml": document(snp_section=bound(), more=FOLLOWING),
        "new.toml": document(snp_section=bound()),
        "higher-floor.toml": document(snp_section=f"{bound()}\n[snp.tcb.Genoa]\nmicrocode = {snp().tcb.microcode}"),
        "images.json": signed(payload(1, number=1)),
        "newer.json": signed(payload(1, number=2)),
    }
    for name, data in files.items():
        desk.write(name, data)
    if not (desk.folder / "broker").exists():
        (desk.folder / "broker").symlink_to(desk.server.folder)
    with chdir(desk.folder):
        haulout.push("oci:web:1.5", raw_disk(desk.folder / "web.raw"), architecture="x86_64")
        haulout.attach("oci:web:1.5", "newer.json", artifact_type=ARTIFACT_TYPE)
    context = click.Context(tree)
    group = tree.get_command(context, "broker")
    assert isinstance(group, Verbs)
    commands = []
    for name in ("workload", "policy", "forecast", "log"):
        verb = group.get_command(context, name)
        verbs = [verb.get_command(context, each) for each in verb.verbs] if isinstance(verb, Verbs) else []
        commands += [example.command for each in (verb, *verbs) for example in each.examples]  # type: ignore[union-attr]
    # What removes the workload comes last, and what follows a list before the policy that follows none.
    order = (" workload add", " follow ", " policy check", "")
    ranks = {
        each: next(place for place, part in enumerate(order) if part in each) + 9 * (" rm " in each)
        for each in commands
    }
    for command in sorted(ranks, key=lambda each: (ranks[each], each)):
        desk.run(*shlex.split(command)[2:])
