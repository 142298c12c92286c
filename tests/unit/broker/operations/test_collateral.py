"""The cache of vendors' publications: filled from services that speak KDS' and PCS' paths, verified, renewed, offline."""

import time
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest
from tests.support.evidence import AT, BOOT, DATA, rule_of, snp, snp_policy, tdx, tdx_policy
from tests.support.simulators.vendors import vendors

from haulout.broker.operations.collateral import Cache, Entry, Refresher, Services, Supply, fetch
from haulout.broker.operations.collateral.refresh import Schedule, is_due
from haulout.broker.operations.limits import Limit
from haulout.emulator import authorities
from haulout.errors import HauloutError, InvalidEvidence, NotFoundError
from haulout.http import Client, HttpOptions
from haulout.tee import Span, identify, publications, verify
from haulout.tee.snp import Signer
from haulout.tee.snp.kds import EndorsementKey, Revocations
from haulout.tee.snp.parse import Product
from haulout.tee.tdx.pcs import QeIdentity, RootList


@pytest.fixture
def served():
    with vendors() as found:
        yield found


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", trusted=roots, clock=lambda: AT)


def roots():
    return {snp(product).ark.fingerprint() for product in Product} | {tdx().root.fingerprint()}


def quick():
    return Client(HttpOptions(attempts=1), environment={})


def fetch_all(needs, cache, served):
    with quick() as client:
        return [fetch(one, cache, client, Services(served.url, served.url)) for one in needs.all]


@pytest.mark.parametrize("signer", Signer)
def test_a_report_is_verified_with_what_amd_was_asked_for(served, cache, signer):
    report = snp().report(DATA, BOOT, signer=signer)
    needs = publications(report)
    if signer is Signer.VLEK:
        with pytest.raises(NotFoundError, match="is not published"):
            fetch_all(needs, cache, served)
        for one, data in identify(snp().certificates(Signer.VLEK), "from the guest"):
            cache.keep(one, data)
        fetch_all(replace(needs, certificates=()), cache, served)
    else:
        fetch_all(needs, cache, served)
    assert cache.find(needs).missing == ()
    certificates, collateral = needs.given(cache.find(needs).content)
    policy = snp_policy('signers = ["vcek", "vlek"]')
    assert verify(report, at=AT, certificates=certificates, collateral=collateral, policy=policy).accepted


@pytest.mark.parametrize("early", [False, True])
def test_a_quote_is_verified_with_what_intel_was_asked_for(served, cache, early):
    quote = tdx().quote(DATA, BOOT)
    needs = publications(quote, early=early)
    fetch_all(needs, cache, served)
    _, collateral = needs.given(cache.find(needs).content)
    for number, accepted in ((17, True), (18, early), (19, False)):
        policy = tdx_policy(f"evaluation-number = {number}")
        assert verify(quote, at=AT, collateral=collateral, policy=policy).accepted is accepted
    assert sum("update=early" in one for one in served.asked) == 2 * early


def test_what_a_service_forges_is_not_kept(served, cache):
    needs = publications(snp().report(DATA, BOOT))
    other = snp(Product.MILAN)
    served.broken["/vcek/v1/Genoa/cert_chain"] = 200, other.ask.pem() + other.ark.pem()
    with pytest.raises(InvalidEvidence, match="AMD's certificates above"):
        fetch_all(needs, cache, served)
    assert cache.find(needs).content == {}
    assert not cache.folder.exists()
    del served.broken["/vcek/v1/Genoa/cert_chain"]
    served.broken["/vcek/v1/Genoa/crl"] = 200, b"<html>log in</html>"
    with pytest.raises(InvalidEvidence, match="not a revocation list"):
        fetch_all(needs, cache, served)
    assert [one.name for one in cache.find(needs).missing] == ["amd/Genoa/vcek/crl.der"]


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_what_a_service_refuses_is_one_clear_error(served, cache, status):
    served.broken["/vcek/v1/Genoa/cert_chain"] = status, b""
    with pytest.raises(HauloutError, match="AMD's certificates above each VCEK of Genoa") as caught:
        fetch_all(publications(snp().report(DATA, BOOT)), cache, served)
    assert isinstance(caught.value, NotFoundError) is (status == 404)


def test_an_older_list_does_not_replace_a_newer_one(cache):
    for one, data in identify(snp().certificates(), "c"):
        cache.keep(one, data)
    listed = Revocations(Product.GENOA, Signer.VCEK)
    new = authorities.revoke(snp().ark, (7,), AT)
    cache.keep(listed, new)
    with pytest.raises(InvalidEvidence, match="before the one that is kept"):
        cache.keep(listed, authorities.revoke(snp().ark, (), AT - timedelta(days=2)))
    assert cache.get(listed) == new
    # What has expired is replaced by anything valid.
    late = Cache(cache.folder, trusted=roots, clock=lambda: AT + timedelta(days=40))
    late.keep(listed, authorities.revoke(snp().ark, (), AT + timedelta(days=39)))


def test_the_list_says_what_is_there_until_when_and_what_is_wrong(served, cache):
    fetch_all(publications(tdx().quote(DATA, BOOT)), cache, served)
    fetch_all(publications(snp().report(DATA, BOOT)), cache, served)
    (cache.folder / "amd" / "Genoa" / "other.der").write_bytes(b"no certificate")
    (cache.folder / "amd" / "Milan").mkdir()
    (cache.folder / "amd" / "Milan" / "chain.pem").write_bytes(snp().ask.pem() + snp().ark.pem())
    by_name = {one.name: one for one in cache.entries()}
    assert len(by_name) == 9
    assert {name for name, one in by_name.items() if one.problem} == {"amd/Genoa/other.der", "amd/Milan/chain.pem"}
    assert by_name["intel/qe-identity.json"].span.until == AT + timedelta(days=30)
    assert {one.name for one in cache.entries(renewed=True)} == {
        name for name, one in by_name.items() if one.publication is not None and one.publication.renewed
    }
    late = Cache(cache.folder, trusted=roots, clock=lambda: AT + timedelta(days=31))
    assert [one.problem for one in late.entries() if one.name == "intel/root-crl.json"] != [None]
    by_name["intel/qe-identity.json"].to_dict()


def test_a_file_changed_by_another_broker_is_seen(cache, monkeypatch):
    now = [AT]
    cache = Cache(cache.folder, trusted=roots, clock=lambda: now[0])
    for one, data in identify(tdx().collateral(AT), "c"):
        if one != RootList():
            cache.keep(one, data)
    path = cache.folder / QeIdentity().name
    path.write_bytes(b"other")
    assert cache.get(QeIdentity()) != b"other"
    now[0] += timedelta(seconds=31)
    assert cache.get(QeIdentity()) == b"other"


def test_a_broker_answers_from_the_cache_and_says_what_is_missing_and_where_it_is(served, cache):
    supply = Supply(cache, Services())
    report = snp().report(DATA, BOOT)
    supplied = supply.for_evidence(report)
    assert supplied.retry_after is None
    assert len(supplied.missing) == 3
    assert f"https://kdsintf.amd.com/vcek/v1/Genoa/{snp().chip_id.hex()}?blSPL=04" in supplied.missing[1]
    verdict = verify(report, at=AT, certificates=supplied.certificates, policy=snp_policy())
    assert rule_of(verdict) == "certificate-missing"
    fetch_all(publications(report), cache, served)
    supplied = supply.for_evidence(report)
    assert supplied.missing == ()
    assert verify(report, at=AT, certificates=supplied.certificates, policy=snp_policy()).accepted


def vcek():
    found = publications(snp().report(DATA, BOOT)).certificates[1]
    assert isinstance(found, EndorsementKey)
    return found


def refreshed(cache, served, **more):
    client = quick()
    return Refresher(
        lambda one: fetch(one, cache, client, Services(served.url, served.url)),
        lambda: cache.entries(renewed=True),
        clock=lambda: AT,
        **more,
    )


def test_what_is_missing_is_fetched_in_the_background(served, cache):
    refresher = refreshed(cache, served, monotonic=time.monotonic)
    refresher.start()
    supply = Supply(cache, Services(served.url, served.url), refresher)
    report = snp().report(DATA, BOOT)
    assert 0 < (supply.for_evidence(report).retry_after or 0) < 60
    deadline = time.monotonic() + 240
    while supply.for_evidence(report).missing and time.monotonic() < deadline:
        time.sleep(0.02)
    assert supply.for_evidence(report).missing == ()
    assert len([one for one in served.asked if "blSPL" in one]) == 1
    refresher.close()


def test_a_renewed_publication_is_fetched_again_and_a_failure_does_not_end_the_thread(served, cache):
    fetch_all(publications(snp().report(DATA, BOOT)), cache, served)
    served.asked.clear()
    tried = Event()

    def fail(publication):
        tried.set()
        raise NotFoundError(publication.title)

    refresher = Refresher(
        fail,
        lambda: cache.entries(renewed=True),
        clock=lambda: AT + timedelta(days=400),
        monotonic=time.monotonic,
    )
    refresher.start()
    assert tried.wait(240)
    deadline = time.monotonic() + 240
    while not refresher.failures and time.monotonic() < deadline:
        time.sleep(0.01)
    assert refresher.failures == 1
    assert [one.name for one in refresher.entries] == ["amd/Genoa/vcek/crl.der"]
    refresher.close()


def test_renewed_ones_are_due_daily_and_invalid_ones_at_once():
    key = vcek()
    span = Span(AT, AT + timedelta(days=30))
    assert not is_due(Entry("a", RootList(), span, AT - timedelta(hours=23)), AT)
    assert is_due(Entry("a", RootList(), span, AT - timedelta(hours=25)), AT)
    assert not is_due(Entry("a", key, span, AT - timedelta(days=900)), AT)
    assert is_due(Entry("a", key, None, AT), AT)
    assert not is_due(Entry("a", None, None, AT), AT)
    assert not is_due(Entry("a", replace(key, chip=b""), None, AT), AT)


def test_vendors_are_asked_slowly_once_for_each_and_less_and_less_after_failures():
    schedule = Schedule(Limit(burst=2, per_second=0.5))
    one, two, three = publications(snp().report(DATA, BOOT)).all
    for wanted in (one, one, two, three):
        assert schedule.want(wanted, 0.0) > 0
    assert [schedule.next(0.0)[0] for _ in range(3)] == [one, two, None]
    assert schedule.next(0.0) == (None, 2.0)
    assert schedule.next(2.0)[0] == three
    assert schedule.next(2.0) == (None, float("inf"))
    pauses = [schedule.failed(one, 0.0, absent=False, jitter=0.5) for _ in range(12)]
    assert pauses[:4] == [30, 60, 120, 240]
    assert pauses[-1] == 6 * 3600
    assert schedule.failed(two, 0.0, absent=True, jitter=0.5) == 3600
    assert schedule.want(one, 10.0) == 6 * 3600 - 10
    assert schedule.next(10.0)[0] is None
    schedule.succeeded(one, 10.0)
    schedule.want(one, 11.0)
    assert schedule.next(11.0)[0] is None
    schedule.want(one, 20.0)
    assert schedule.next(20.0)[0] == one
    # While it is being fetched, nobody has it fetched once more.
    schedule.want(one, 20.0)
    assert schedule.next(30.0)[0] is None


def test_what_strangers_ask_for_is_bounded():
    schedule = Schedule()
    key = vcek()
    for number in range(3000):
        chip = replace(key, chip=number.to_bytes(64, "big"))
        schedule.want(chip, 0.0)
        schedule.failed(chip, 0.0, absent=True, jitter=0)
    assert len(schedule._wanted) == 1000
    assert len(schedule._pauses) == 1000
