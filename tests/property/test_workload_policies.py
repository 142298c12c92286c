"""Policies of workloads: looser never refuses more, order does not matter, each field refuses by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.evidence import AT, BOOT, DATA, snp
from tests.support.workload_policies import BINDINGS, MEASURED, OTHER, document, judge

from haulout.broker.policy import Decision, Facts, decide, parse
from haulout.emulator.snp import DEFAULT_POLICY, SnpState
from haulout.tee import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = [(epoch, right) for epoch in (1, 2, 3) for right in (True, False)]
DEBUG = 1 << 19
MICROCODE = snp().tcb.microcode


@dataclass(frozen=True)
class Asked:
    """What a policy says, as far as these tests change it."""

    images: tuple[tuple[int, bool], ...]
    releases: int | None = None
    minimum: int = 0
    begin: int | None = None
    end: int | None = None
    seconds: int = 300
    v0: bool = False
    debug: bool = False
    migration: bool = False
    smt: bool = True
    microcode: int = 0
    any_measurement: bool = False
    products: tuple[str, ...] = ("Genoa",)

    def write(self) -> bytes:
        """Write the document."""
        entries = [
            f"[[images]]\nepoch = {epoch}\nbinding = '{BINDINGS[epoch].to_bytes().decode()}'\n"
            f'snp.measurements = ["{MEASURED if right else OTHER}"]\n'
            for epoch, right in self.images
        ]
        release = [f"minimum-epoch = {self.minimum}", f"evidence-seconds = {self.seconds}", f"v0 = {_word(self.v0)}"]
        release += [f"any-measurement = {_word(self.any_measurement)}"]
        release += [] if self.releases is None else [f"releases = {self.releases}"]
        release += [] if self.begin is None else [f"not-before = {_time(self.begin)}"]
        release += [] if self.end is None else [f"not-after = {_time(self.end)}"]
        section = (
            f"debug = {_word(self.debug)}\nmigration = {_word(self.migration)}\nsmt = {_word(self.smt)}\n"
            f"[snp.tcb.Genoa]\nmicrocode = {self.microcode}"
        )
        found = document(*entries, snp_section=section, release="\n".join(release))
        named = ", ".join(f'"{one}"' for one in self.products)
        return found.replace(b'products = ["Genoa"]', f"products = [{named}]".encode())


@dataclass(frozen=True)
class Situation:
    """A guest that asks, and what else is known."""

    epoch: int = 1
    bits: int = DEFAULT_POLICY
    now: int = 10
    releases: int = 0
    v0: bool = False

    @property
    def facts(self) -> Facts:
        """Return what is known besides the evidence."""
        return Facts(AT + timedelta(seconds=self.now), AT, self.releases, self.v0)


def _word(value: bool) -> str:
    return str(value).lower()


def _time(seconds: int) -> str:
    return stamp(AT + timedelta(seconds=seconds))


@cache
def evidence(epoch: int, bits: int) -> bytes:
    """Make a report once."""
    return snp().report(DATA, BOOT, SnpState(host_data=BINDINGS[epoch].host_data, policy=bits))


def answer(asked: Asked, situation: Situation) -> Decision:
    """Decide."""
    policy = parse(asked.write())
    return decide(policy, judge(policy, evidence(situation.epoch, situation.bits)), situation.facts)


policies = st.builds(
    Asked,
    images=st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=4).map(tuple),
    releases=st.one_of(st.none(), st.integers(0, 3)),
    minimum=st.integers(0, 3),
    begin=st.one_of(st.none(), st.just(5), st.just(10)),
    end=st.one_of(st.none(), st.just(10), st.just(15)),
    seconds=st.sampled_from([5, 10, 300]),
    v0=st.booleans(),
    debug=st.booleans(),
    migration=st.booleans(),
    smt=st.booleans(),
    microcode=st.sampled_from([0, MICROCODE, MICROCODE + 1]),
    any_measurement=st.booleans(),
    products=st.sampled_from([("Genoa",), ("Milan",), ("Milan", "Genoa")]),
)
situations = st.builds(
    Situation,
    epoch=st.integers(1, 4),
    bits=st.sampled_from(
        [DEFAULT_POLICY, DEFAULT_POLICY | DEBUG, DEFAULT_POLICY | 1 << 18, DEFAULT_POLICY & ~(1 << 16)]
    ),
    now=st.sampled_from([-1, 5, 10, 15]),
    releases=st.integers(0, 3),
    v0=st.booleans(),
)
LOOSER: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "images": lambda one: {"images": (*one.images, (4, True))},
    "images-known": lambda one: {"images": (*one.images, (1, True))},
    "releases": lambda one: {"releases": None if one.releases is None else one.releases + 1},
    "releases-any": lambda one: {"releases": None},
    "minimum": lambda one: {"minimum": max(0, one.minimum - 1)},
    "begin": lambda one: {"begin": None if one.begin is None else one.begin - 5},
    "begin-any": lambda one: {"begin": None},
    "end": lambda one: {"end": None if one.end is None else one.end + 5},
    "end-any": lambda one: {"end": None},
    "seconds": lambda one: {"seconds": one.seconds + 5},
    "v0": lambda one: {"v0": True},
    "debug": lambda one: {"debug": True},
    "migration": lambda one: {"migration": True},
    "smt": lambda one: {"smt": True},
    "microcode": lambda one: {"microcode": max(0, one.microcode - 1)},
    "any-measurement": lambda one: {"any_measurement": True},
    "products": lambda one: {"products": tuple(dict.fromkeys((*one.products, "Genoa", "Turin")))},
}


@settings(deadline=None, max_examples=400)
@given(asked=policies, situation=situations, change=st.sampled_from(sorted(LOOSER)))
def test_a_looser_policy_refuses_nothing_more(asked, situation, change):
    before = answer(asked, situation)
    after = answer(replace(asked, **LOOSER[change](asked)), situation)
    assert after.allowed or not before.allowed, (change, before, after)


@settings(deadline=None, max_examples=60)
@given(asked=policies, situation=situations, data=st.data())
def test_the_order_of_a_policy_does_not_matter(asked, situation, data):
    other = replace(
        asked,
        images=tuple(data.draw(st.permutations(asked.images))),
        products=tuple(data.draw(st.permutations(asked.products))),
    )
    first, second = answer(asked, situation), answer(other, situation)
    assert replace(first, policy="") == replace(second, policy="")
    assert answer(asked, situation) == first, "and the same question has the same answer"


GOOD = Asked(images=((1, True), (2, True), (1, False)), releases=1, minimum=1, begin=5, end=15, seconds=15)
MUTATIONS = {
    "images": (Asked(images=((2, True),)), "workload"),
    "measurement": (Asked(images=((1, False), (2, True))), "measurement"),
    "releases": (replace(GOOD, releases=0), "releases"),
    "minimum": (replace(GOOD, minimum=2), "epoch"),
    "begin": (replace(GOOD, begin=11), "not-before"),
    "end": (replace(GOOD, end=9), "not-after"),
    "seconds": (replace(GOOD, seconds=9), "evidence-age"),
    "smt": (replace(GOOD, smt=False), "smt"),
    "microcode": (replace(GOOD, microcode=MICROCODE + 1), "tcb-floor"),
    "products": (replace(GOOD, products=("Milan",)), "product-not-allowed"),
}
FACTS = {
    "epoch": (Situation(epoch=3), "workload"),
    "debug": (Situation(bits=DEFAULT_POLICY | DEBUG), "debug"),
    "migration": (Situation(bits=DEFAULT_POLICY | 1 << 18), "migration"),
    "early": (Situation(now=4), "not-before"),
    "late": (Situation(now=16), "evidence-age"),
    "backwards": (Situation(now=-1), "evidence-age"),
    "releases": (Situation(releases=1), "releases"),
    "v0": (Situation(v0=True), "protocol"),
}


def test_each_field_refuses_by_itself():
    assert answer(GOOD, Situation()).allowed
    for name, (asked, rule) in MUTATIONS.items():
        assert (name, answer(asked, Situation()).rule) == (name, rule)
    for name, (situation, rule) in FACTS.items():
        assert (name, answer(GOOD, situation).rule) == (name, rule)
