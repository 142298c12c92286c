"""A broker that is killed in the middle of requests, again and again: what it gave away is in the log, and nothing is lost.

Guests attest and fetch, each answers its challenge twice at once, and owners register workloads, until SIGKILL comes. Then
another process goes on with the same database, and what the clients saw is held against what is in it.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.broker_lab import SECRET, Lab, audit_of, broken_links
from tests.support.trustee_client import unb64

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("HAULOUT_TEST_BROKER_KILLS", "3"))
GONE = (OSError, http.client.HTTPException)
"""What a client sees of a server that dies."""


@dataclass
class Seen:
    """What clients know for certain."""

    released: list[tuple[str, str]] = field(default_factory=list)
    """Session and resource of each key that came."""
    accepted: Counter[str] = field(default_factory=Counter)
    """How often the answer to a nonce was accepted."""
    answers: dict[str, tuple[dict[str, str], Any]] = field(default_factory=dict)
    """Nonce → cookie and Attestation, as they were sent."""
    registered: dict[str, bytes] = field(default_factory=dict)
    """Resource → secret, where the broker said that it keeps it."""
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def session_of(token):
    return json.loads(unb64(token.split(".")[1]))["jti"]


def guest_life(lab, seen, stop, paths):
    """Attest, twice with each nonce, and fetch."""
    while not stop.is_set():
        guest, twin = lab.guest(), lab.wire()
        with suppress(*GONE):
            if guest.request().status != 200:
                continue
            document = guest.attestation()
            twin.cookies = dict(guest.wire.cookies)
            seen.answers[guest.nonce] = (dict(guest.wire.cookies), document)
            with ThreadPoolExecutor(2) as pool:
                both = [pool.submit(guest.answer, document), pool.submit(twin.post, "/kbs/v0/attest", document)]
            for each in both:
                with suppress(*GONE):
                    answer = each.result()
                    seen.statuses[answer.status] += 1
                    if answer.status == 200:
                        seen.accepted[guest.nonce] += 1
                        guest.token = answer.json["token"]
            for path in paths if guest.token else ():
                answer = guest.ask(path)
                seen.statuses[answer.status] += 1
                if answer.status == 200:
                    if guest.key.decrypt(answer.body) != SECRET:
                        seen.wrong.append(f"another secret for {path}")
                    seen.released.append((session_of(guest.token), path))
        guest.close()
        twin.close()


def owner_life(lab, seen, stop, numbers):
    """Register workloads, and remember those that the broker said it has."""
    owner = lab.owner()
    while not stop.is_set():
        with suppress(*GONE):
            number = next(numbers)
            path = f"n{number}/key/disk"
            with suppress(AssertionError):  # 503 is an answer
                owner.register(f"n{number}", "snp", secret=b"secret of %d" % number)
                seen.registered[path] = b"secret of %d" % number
    owner.wire.close()


def numbers_for(name, kill):
    number = 10_000_000 * (name + 1) + 1_000 * kill
    while True:
        number += 1
        yield number


def test_a_broker_that_is_killed_in_the_middle(tmp_path):
    noise = random.Random(int(os.environ.get("HAULOUT_TEST_SEED", "20")))
    lab, seen = Lab(tmp_path / "broker"), Seen()
    paths = ["w1/key/disk", "w1/key/second"]
    instance = lab.instance().start()
    owner = lab.owner()
    for path in paths:
        owner.register("w1", "snp", path=path)
    owner.wire.close()
    replayed = 0
    for kill in range(KILLS):
        before = len(seen.answers)
        stop = threading.Event()
        lives = [threading.Thread(target=guest_life, args=(lab, seen, stop, paths)) for _ in range(4)]
        lives.append(threading.Thread(target=owner_life, args=(lab, seen, stop, numbers_for(0, kill))))
        for life in lives:
            life.start()
        time.sleep(noise.uniform(0.5, 2.0))
        instance.kill()
        stop.set()
        for life in lives:
            life.join(240)
        assert not any(life.is_alive() for life in lives)
        instance.start()
        # All answers of this round again: whoever was accepted before must not be again.
        wire = lab.wire()
        for nonce, (cookies, document) in list(seen.answers.items())[before:]:
            wire.cookies = dict(cookies)
            answer = wire.post("/kbs/v0/attest", document)
            replayed += 1
            assert answer.status in {200, 401}, answer
            seen.accepted[nonce] += answer.status == 200
        wire.close()
    found = audit_of(lab.database)
    kept = lab.owner()
    lost = [
        path
        for path in seen.registered
        if path not in kept.send("GET", f"/v1/workloads/{path.split('/')[0]}/resources").json
    ]
    lab.hang_up()
    instance.stop()

    logged = Counter(
        (row["session"], row["resource"]) for row in found if (row["event"], row["decision"]) == ("release", "allowed")
    )
    unlogged = Counter(seen.released) - logged
    attested = Counter(row["session"] for row in found if (row["event"], row["decision"]) == ("attest", "allowed"))
    twice = [nonce for nonce, times in seen.accepted.items() if times > 1]
    print(  # noqa: T201 - what was done
        f"\n{KILLS} kills: {len(seen.released)} keys came, {sum(logged.values())} releases in the log; {len(seen.answers)} nonces, "
        f"{replayed} replayed; {len(seen.registered)} registrations; answers {dict(seen.statuses)}"
    )
    assert seen.wrong == []
    assert unlogged == Counter(), "keys left without a row"
    assert twice == [], "nonces were accepted twice"
    assert [session for session, times in attested.items() if times > 1] == [], "sessions attested twice, by the log"
    assert lost == [], "registrations are gone"
    assert broken_links(found) == 0
    assert len(seen.released) >= KILLS // 2
    assert seen.registered or KILLS < 10
