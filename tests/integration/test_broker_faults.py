"""A broker whose database fails, whose disk is full, whose keys are gone or whose clock jumps: closed, never open."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.broker_lab import ROOT, SECRET, Lab, audit_of, broken_links
from tests.support.servers import free_port
from tests.support.trustee_client import Failed, unb64

pytestmark = pytest.mark.long
PATH = "w1/key/disk"
ROUNDS = 400 if os.environ.get("HAULOUT_TEST_BROKER") else 60
FAULTY = ("-m", "tests.support.faulty_broker")


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path / "broker")


def releases(lab):
    return Counter(
        (row["session"], row["resource"])
        for row in audit_of(lab.database)
        if (row["event"], row["decision"]) == ("release", "allowed")
    )


def session_of(guest):
    return json.loads(unb64(guest.token.split(".")[1]))["jti"]


def faulty(lab, tmp_path, share=0.0, ahead=0.0):
    """Return what runs a broker with faults, and what changes them."""
    file = tmp_path / "faults"

    def change(share, ahead=0.0):
        new = file.with_suffix(".new")
        new.write_text(f"{share} {ahead}")
        new.replace(file)

    change(share, ahead)
    return lab.serving(program=FAULTY, environment={"HAULOUT_FAULTS": str(file)}), change


def test_a_fifth_of_the_calls_of_the_database_fails(lab, tmp_path):
    serving, change = faulty(lab, tmp_path)
    came: list[tuple[str, str]] = []
    statuses: Counter[int] = Counter()
    with serving as instance:
        lab.owner().register("w1", "snp")
        change(0.2)
        for _ in range(ROUNDS):
            guest = lab.guest()
            for step in (guest.request, lambda guest=guest: guest.answer(guest.attestation())):
                answer = step()
                statuses[answer.status] += 1
                if answer.status != 200:
                    break
            else:
                guest.token = answer.json["token"]
                for _ in range(3):
                    answer = guest.ask(PATH)
                    statuses[answer.status] += 1
                    if answer.status == 200:
                        assert guest.key.decrypt(answer.body) == SECRET
                        came.append((session_of(guest), PATH))
            guest.close()
        change(0)
        assert lab.guest().resource(PATH) == SECRET
        assert "Traceback" not in instance.words()
    # Nothing but an answer, "not now", or "you have not attested", where its own row could not be written.
    assert set(statuses) <= {200, 401, 503}, statuses
    assert statuses[503] > ROUNDS // 5
    assert Counter(came) - releases(lab) == Counter(), "keys left without a row"
    assert broken_links(audit_of(lab.database)) == 0


def test_a_guest_that_tries_again_gets_its_key_although_the_database_fails(lab, tmp_path):
    serving, change = faulty(lab, tmp_path)
    with serving:
        lab.owner().register("w1", "snp")
        change(0.1)
        for _ in range(100):
            try:
                found = lab.guest().resource(PATH)
            except Failed as exc:
                assert exc.answer.status in {401, 503}  # noqa: PT017
                assert exc.answer.status != 503 or exc.answer.headers["retry-after"]  # noqa: PT017
                lab.hang_up()
                continue
            break
        assert found == SECRET


@pytest.mark.parametrize("ahead", [-86400.0, -3600.0, 301.0, 86400.0])
def test_a_clock_that_jumps_makes_nothing_valid_for_longer(lab, tmp_path, ahead):
    serving, change = faulty(lab, tmp_path)
    with serving as instance:
        lab.owner().register("w1", "snp")
        attested, challenged = lab.guest(), lab.guest()
        attested.handshake()
        assert attested.ask(PATH).status == 200
        challenged.request()
        change(0, ahead)
        assert challenged.answer(challenged.attestation()).status == 401
        assert attested.ask(PATH).status in {401, 404}
        assert attested.ask(PATH, bearer=attested.token).status in {401, 404}
        change(0)
        assert lab.guest().resource(PATH) == SECRET
        assert "Traceback" not in instance.words()


def test_a_full_disk(lab):
    """The largest file that the process may write is a little more than what there is."""
    with lab.serving():
        lab.owner().register("w1", "snp")
    limit = lab.database.stat().st_size + (96 << 10)
    came: list[tuple[str, str]] = []
    statuses: Counter[int] = Counter()
    with lab.serving(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) as instance:
        for _ in range(150):
            guest = lab.guest()
            try:
                guest.handshake()
                answer = guest.ask(PATH)
            except Failed as exc:
                answer = exc.answer
            statuses[answer.status] += 1
            if answer.status == 200:
                assert guest.key.decrypt(answer.body) == SECRET
                came.append((session_of(guest), PATH))
            guest.close()
            if statuses[503] > 10:
                break
        assert instance.process is not None
        assert instance.process.poll() is None
        assert "Traceback" not in instance.words()
    assert set(statuses) <= {200, 401, 503}
    assert statuses[503] > 0, statuses
    assert Counter(came) - releases(lab) == Counter()
    # With room again, all is well.
    with lab.serving():
        assert lab.guest().resource(PATH) == SECRET
    assert broken_links(audit_of(lab.database)) == 0


@pytest.mark.parametrize("fault", ["missing", "another", "empty", "damaged"])
def test_without_its_key_a_broker_does_not_serve(lab, fault):
    keys = lab.folder / "keys"
    whole = keys.read_bytes()
    match fault:
        case "missing":
            keys.unlink()
        case "another":
            name, _, value = whole.decode().strip().rpartition(" ")
            keys.write_text(f"{name} {'A' if value[0] != 'A' else 'B'}{value[1:]}\n")
        case "empty":
            keys.write_bytes(b"")
        case _:
            keys.write_bytes(b"\xff\0" * 50)
    where = ["--state", str(lab.folder), "--listen", f"127.0.0.1:{lab.port}"]
    done = subprocess.run(
        [sys.executable, "-m", "haulout", "broker", "serve", *where],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=ROOT,
    )
    assert done.returncode > 1, done
    assert "Traceback" not in done.stderr
    assert "listening" not in done.stdout
    assert whole.decode().split()[-1] not in done.stderr
    assert done.stderr.count("\n") < 8


def test_a_broker_whose_key_is_taken_away_while_it_runs(lab):
    """It has the key in memory, and goes on; the next one does not begin."""
    with lab.serving():
        lab.owner().register("w1", "snp")
        (lab.folder / "keys").rename(lab.folder / "keys.away")
        guest = lab.guest()
        try:
            assert guest.resource(PATH) == SECRET
        except Failed as exc:
            assert exc.answer.status == 503  # noqa: PT017
    (lab.folder / "keys.away").rename(lab.folder / "keys")


def test_one_nonce_at_two_instances_at_once(lab):
    with lab.serving() as first, lab.serving(free_port()) as second:
        lab.owner().register("w1", "snp")
        for _ in range(10):
            guest = lab.guest()
            guest.request()
            document = guest.attestation()

            def send(url, guest=guest, document=document):
                wire = lab.wire(url)
                wire.cookies = dict(guest.wire.cookies)
                return wire.post("/kbs/v0/attest", document).status

            with ThreadPoolExecutor(8) as pool:
                found = sorted(pool.map(send, [first.url, second.url] * 4))
            assert found == [200] + [401] * 7
            # Either serves the next step.
            there = lab.guest(url=second.url, key=guest.key)
            there.wire.cookies = dict(guest.wire.cookies)
            answer = there.ask(PATH)
            assert (answer.status, guest.key.decrypt(answer.body)) == (200, SECRET)
            lab.hang_up()
    assert broken_links(audit_of(lab.database)) == 0
