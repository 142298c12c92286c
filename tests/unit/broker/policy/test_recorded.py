"""Dry runs and forecasts: recorded evidence is verified anew, by another policy or with newer collateral."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, snp, tdx, vector
from tests.support.workload_policies import BINDINGS, bound, document, image, policy, report

from haulout.broker.policy import Recorded, dry_run, forecast, parse
from haulout.emulator.snp import SnpState
from haulout.emulator.tdx import TdxState, default_info
from haulout.local import parse_json
from haulout.tee import KINDS, Given, verify
from haulout.tee import parse_policy as parse_evidence_policy

TOMORROW = AT + timedelta(days=1)
WHILE_VALID = datetime(2025, 6, 25, tzinfo=UTC)


def attempt(epoch: int = 1, *, hours: int = 0, **more: Any) -> Recorded:
    """Record an attempt of an emulated SEV-SNP guest."""
    made = Recorded(
        at=AT + timedelta(hours=hours),
        workload="web",
        evidence=report(epoch),
        certificates=tuple(given(snp().certificates())),
        report_data=DATA,
        rule="allowed",
        session=f"s{hours}",
        client="192.0.2.7",
    )
    return replace(made, **more)


def tdx_policy(**more: str) -> Any:
    """Read a policy for emulated TDX."""
    rtmr = BOOT.rtmr()
    lines = [f'rtmr{number} = ["{value.hex()}"]' for number, value in enumerate(rtmr)]
    section = "\n".join([f'mrtd = ["{BOOT.mrtd().hex()}"]', f'mrconfigid = ["{BINDINGS[1].mrconfigid.hex()}"]', *lines])
    text = document(**more).decode().replace(snp().ark.fingerprint(), tdx().root.fingerprint())
    return parse(text.replace('[snp]\nproducts = ["Genoa"]', f"[tdx]\n{section}").encode())


def tdx_attempt(**more: Any) -> Recorded:
    """Record an attempt of an emulated TDX guest."""
    quote = tdx().quote(DATA, BOOT, TdxState(mrconfigid=BINDINGS[1].mrconfigid))
    return attempt(evidence=quote, certificates=(), collateral=tuple(given(tdx().collateral(AT))), **more)


def early(**changed: int) -> Given:
    """Issue collateral in which the vendor has raised the bar."""
    info = default_info(AT)
    level = json.loads(json.dumps(info["tcbLevels"][0]))
    for name, svn in changed.items():
        if name == "pcesvn":
            level["tcb"][name] = svn
        else:
            kind, place = name.split("_")
            level["tcb"][f"{kind}tcbcomponents"][int(place)].update(
                svn=svn, category="BIOS", type="Early Microcode Update"
            )
    old = {**info["tcbLevels"][0], "tcbStatus": "OutOfDate"}
    more = {"tcbLevels": [level, old], "tcbEvaluationDataNumber": info["tcbEvaluationDataNumber"] + 1}
    return Given("early.json", tdx().collateral(AT, info=more))


def test_a_dry_run_says_what_would_change():
    attempts = [attempt(1), attempt(2, hours=1), attempt(3, hours=2, rule="workload"), attempt(2, hours=3)]
    asked = policy(image(2), image(3), release="releases = 2")
    found = list(dry_run(asked, attempts))
    assert [(one.decision.rule, one.changed) for one in found] == [
        ("workload", True),
        ("allowed", False),
        ("allowed", True),
        ("releases", True),
    ]
    assert found[0].to_dict()["before"] == "allowed"
    assert found[0].machine == f"snp:{snp().chip_id.hex()}"


def test_a_dry_run_counts_releases_before():
    asked = policy(image(1), release="releases = 2")
    assert [one.decision.rule for one in dry_run(asked, [attempt(), attempt(hours=1)], releases=1)] == [
        "allowed",
        "releases",
    ]


def test_a_dry_run_judges_at_the_time_of_the_attempt():
    asked = policy(image(1), release="not-after = 2026-06-01T13:30:00Z")
    assert [one.decision.rule for one in dry_run(asked, [attempt(), attempt(hours=1), attempt(hours=2)])] == [
        "allowed",
        "allowed",
        "not-after",
    ]


def test_evidence_that_cannot_be_read_is_a_refusal():
    (found,) = dry_run(policy(image(1)), [attempt(evidence=b"short", rule="format")])
    assert (found.decision.allowed, found.decision.rule, found.machine, found.changed) == (
        False,
        "unreadable",
        "",
        False,
    )


def test_report_data_that_was_not_recorded_is_not_asked_for():
    (found,) = dry_run(policy(image(1)), [attempt(report_data=None)])
    assert found.decision.allowed


def test_an_attempt_reads_back_from_its_line():
    def wrong(where: str, reason: str, *, hint: str | None = None) -> Exception:
        return ValueError(where, reason, hint)

    for one in (tdx_attempt(v0=True, number=7), attempt(report_data=None, session=None, client=None)):
        line = one.to_line()
        assert b"\n" not in line
        read = Recorded.read(parse_json(line, wrong))
        given = [(each.data for each in files) for files in (read.certificates, read.collateral)]
        assert [list(each) for each in given] == [[e.data for e in one.certificates], [e.data for e in one.collateral]]
        assert replace(read, certificates=one.certificates, collateral=one.collateral) == one
        for name, value in (("at", None), ("at", "x"), ("evidence", "?"), ("number", "1"), ("collateral", [1])):
            values = {**json.loads(line), name: value}
            with pytest.raises(ValueError, match=name):
                Recorded.read(parse_json(json.dumps(values), wrong))


def test_a_forecast_without_news_warns_of_nothing():
    (found,) = forecast(policy(image(1)), [attempt()], TOMORROW)
    assert (found.today.allowed, found.then.allowed, found.warns, found.shortfalls) == (True, True, False, ())


def test_a_higher_floor_names_the_version_that_is_short():
    floor = replace(snp().tcb, microcode=snp().tcb.microcode + 3)
    raised = "\n".join(["[snp.tcb.Genoa]", *(f"{name} = {value}" for name, value in floor.parts.items())])
    future = policy(snp_section=bound(), more=raised)
    (found,) = forecast(policy(snp_section=bound()), [attempt()], TOMORROW, future=future)
    assert (found.today.allowed, found.then.rule, found.warns) == (True, "tcb-floor", True)
    assert not forecast(future, [attempt()], TOMORROW)[0].warns, "it is refused already"
    assert {str(one).partition(" TCB")[0] for one in found.shortfalls} == {"reported", "committed", "launch"}
    assert {(one.have, one.need) for one in found.shortfalls} == {(snp().tcb.microcode, floor.microcode)}
    assert "update the host's firmware" in str(found.shortfalls[0])


def test_early_collateral_names_the_component_that_is_short():
    (found,) = forecast(tdx_policy(), [tdx_attempt()], TOMORROW, collateral=[early(sgx_1=6, pcesvn=15)])
    assert found.warns
    assert found.then.rule == "tcb-status"
    assert [str(one) for one in found.shortfalls] == [
        "SGX TCB component 2, Early Microcode Update (BIOS): has 4, needs 6: update the BIOS",
        "PCE: has 13, needs 15: update SGX platform software (PCE)",
    ]


def test_collateral_below_every_level_is_told_as_well():
    new = early(tdx_2=9)
    values = json.loads(new.data)
    (found,) = forecast(
        tdx_policy(), [tdx_attempt()], TOMORROW, collateral=[replace(new, data=json.dumps(values).encode())]
    )
    assert found.warns
    assert [(one.part, one.have, one.need) for one in found.shortfalls] == [
        ("TDX TCB component 3, Early Microcode Update (BIOS)", 4, 9)
    ]


def test_collateral_of_other_platforms_does_not_count():
    other = Given("other.json", tdx().collateral(AT, info={"fmspc": "000000000000"}))
    (found,) = forecast(tdx_policy(), [tdx_attempt()], TOMORROW, collateral=[other, Given("x", b"{}")])
    assert (found.warns, found.then.allowed) == (False, True)


def test_the_last_attempt_of_each_machine_counts():
    other = snp().report(DATA, BOOT, SnpState(host_data=BINDINGS[3].host_data))
    attempts = [attempt(1), attempt(2, hours=1), tdx_attempt(), attempt(evidence=other, workload="shop")]
    found = forecast(policy(image(1), image(2)), attempts, TOMORROW)
    assert [(one.recorded.workload, one.recorded.session, one.machine[:4]) for one in found] == [
        ("web", "s1", "snp:"),
        ("web", "s0", "192."),
        ("shop", "s0", "snp:"),
    ]


def test_a_window_that_closes_is_foretold():
    (found,) = forecast(policy(image(1), release="not-after = 2026-06-02T00:00:00Z"), [attempt()], TOMORROW)
    assert (found.warns, found.then.rule, found.shortfalls) == (True, "not-after", ())


def test_releases_that_are_used_up_are_foretold():
    asked = policy(image(1), release="releases = 5")
    assert not forecast(asked, [attempt()], TOMORROW, releases=4)[0].warns
    assert forecast(asked, [attempt()], TOMORROW, releases=5)[0].then.rule == "releases"


def test_a_real_platform_is_compared_with_intels_own_names():
    quote, data = vector("tdx/quote-uptodate.bin"), vector("tdx/quote-uptodate.collateral.json")
    whole = Given("collateral.json", data)
    asked = parse_evidence_policy(b"schema = 1\n[tdx]")
    claims = verify(quote, at=WHILE_VALID, collateral=[whole], policy=asked).claims
    assert claims is not None
    kind = next(one for one in KINDS if one.name == "tdx")
    assert kind.machine(claims)
    assert kind.shortfalls(claims, asked.sections["tdx"], [whole]) == ()
    values = json.loads(data)
    info = json.loads(values["tcb_info"])
    info["tcbLevels"][0]["tcb"]["sgxtcbcomponents"][7]["svn"] = 200
    values["tcb_info"] = json.dumps(info)
    (short,) = kind.shortfalls(claims, asked.sections["tdx"], [Given("early.json", json.dumps(values).encode())])
    assert short.part == "SGX TCB component 8, SEAMLDR ACM (OS/VMM)"
    assert short.need == 200
