"""Policies of workloads: what they demand, and how their faults are told."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime

import pytest
from tests.support.bindings import BINDING
from tests.support.evidence import ROOT
from tests.support.workload_policies import BINDINGS, MEASURED, OTHER, bound, document, image, policy

from haulout.broker.policy import parse
from haulout.broker.policy.document import MAX_BYTES
from haulout.errors import InvalidPolicy
from haulout.workload import Tee, policy_for


def test_a_policy_says_what_it_demands():
    found = policy(
        image(2),
        image(3),
        release="releases = 5\nminimum-epoch = 2\nnot-before = 2026-01-01T00:00:00Z\n"
        'not-after = "2026-12-31T23:00:00+01:00"\nevidence-seconds = 60\nv0 = true',
    )
    assert found.to_dict() == {
        "name": "web",
        "digest": found.digest,
        "tees": ["snp"],
        "test": True,
        "release": {
            "releases": 5,
            "minimum_epoch": 2,
            "not_before": "2026-01-01T00:00:00Z",
            "not_after": "2026-12-31T22:00:00Z",
            "evidence_seconds": 60,
            "v0": True,
            "any_measurement": False,
        },
        "minimum_epoch": 2,
        "images": [{"name": "1.3", "epoch": 3}, {"name": "1.2", "epoch": 2}],
        "follows": False,
        "list": None,
    }
    assert found.release.not_after == datetime(2026, 12, 31, 22, tzinfo=UTC)


def test_what_a_policy_does_not_say_is_strict():
    found = policy(snp_section=bound())
    section = found.evidence.sections["snp"]
    assert not section.debug
    assert not section.migration
    assert not found.release.v0
    assert not found.release.any_measurement
    assert found.release.evidence_seconds == 300
    assert found.evidence.report_data_required, "a broker always asks for report data"


def test_json_and_toml_are_one_schema():
    toml = document(image(1), release="releases = 5\nnot-after = '2026-12-31T23:00:00Z'")
    as_json = parse(json.dumps(tomllib.loads(toml.decode())).encode())
    as_toml = parse(toml)
    assert as_json.digest != as_toml.digest
    assert {**as_json.to_dict(), "digest": ""} == {**as_toml.to_dict(), "digest": ""}
    assert as_json.images == as_toml.images


def test_the_policy_that_a_build_writes_is_one():
    found = parse(policy_for(BINDING, Tee.SNP, bytes(48)).encode())
    assert found.tees == ("snp",)
    assert found.evidence.sections["snp"].host_data == {BINDING.host_data}


@pytest.mark.parametrize("kind", ["snp", "tdx", "cca", "tpm"])
def test_a_binding_gives_each_tee_its_value(kind):
    section = {"snp": '[snp]\nproducts = ["Genoa"]', "tdx": "[tdx]", "cca": "[cca]", "tpm": "[tpm]"}[kind]
    text = f"""schema = 1
{section}
[release]
any-measurement = true
[[images]]
epoch = 1
binding = '{BINDING.to_bytes().decode()}'
"""
    (known,) = parse(text.encode()).images
    values = {"host_data", "mrconfigid", "personalization"}
    attribute, its = {
        "snp": ("host_data", {"host_data"}),
        "tdx": ("mrconfigid", {"mrconfigid"}),
        "cca": ("personalization", {"personalization"}),
        "tpm": ("workload", values),  # of which its bank of PCRs has one
    }[kind]
    assert getattr(known.bound[kind], attribute) == {getattr(BINDING, each) for each in its}


@pytest.mark.parametrize(
    ("data", "key", "reason"),
    [
        (b"schema = 1", "", "accepts no TEE"),
        (document(), "snp.host-data", "any workload would get the key"),
        (document(snp_section=bound().partition("\n")[0]), "snp.measurements", "any firmware and kernel"),
        (document(image(1, None)), "images (1.1).snp.measurements", "any firmware and kernel"),
        (document(image(1), image(2, None)), "images (1.2).snp.measurements", "any firmware and kernel"),
        (document(image(1, "ab")), "images[0].snp.measurements", "is not 96 hexadecimal digits"),
        (document(image(1).replace("epoch = 1", "epoch = -1")), "images[0].epoch", "expected a whole number"),
        (document(image(1).replace("epoch = 1", "")), "images[0].epoch", "is missing"),
        (document(image(1).replace("'{", "'{ ")), "images[0].binding", "not in its canonical form"),
        (document("[[images]]\nepoch = 1"), "images[0].binding", "is missing"),
        (document("[[images]]\nepoch = 1\nsnp.debug = true"), "images[0].snp.debug", "is not a known key"),
        (document(snp_section=bound(), release="minimum-epoch = 1"), "release.minimum-epoch", "needs images"),
        (document(snp_section=bound(), release="releases = -1"), "release.releases", "expected a whole number"),
        (document(snp_section=bound(), release="releases = true"), "release.releases", "expected a whole number"),
        (document(snp_section=bound(), release="release = 1"), "release.release", "is not a known key"),
        (document(snp_section=bound(), release="not-after = 2026-01-01T00:00:00"), "release.not-after", "offset"),
        (document(snp_section=bound(), release="not-after = 2026-01-01"), "release.not-after", "offset"),
        (
            document(snp_section=bound(), release="not-after = '0001-01-01T00:00:00+14:00'"),
            "release.not-after",
            "range",
        ),
        (document(snp_section=bound(), release="not-after = 'x'"), "release.not-after", "offset"),
        (
            document(
                snp_section=bound(), release="not-before = 2026-02-01T00:00:00Z\nnot-after = 2026-01-01T00:00:00Z"
            ),
            "release.not-after",
            "no key would ever be released",
        ),
        (document(snp_section=bound(), release="evidence-seconds = 0"), "release.evidence-seconds", "from 1 to 86400"),
        (document(snp_section=bound(), more="[follow]"), "follow.keys", "is missing"),
        (document(snp_section=bound(), more='[follow]\nkeys = ["x"]'), "follow.keys", "does not hold a public key"),
        (document(snp_section=bound(), more="[releases]"), "releases", "is not a known key"),
        (document(snp_section=bound()).replace(b"test = true\n", b""), "roots", "only a policy for tests"),
        (b'schema = 1\n[tpm]\nworkload = ["%b"]' % (b"ab" * 32), "tpm.pcr4", "any firmware and kernel"),
        (b'schema = 1\n[tdx]\nmrconfigid = ["%b"]\nmrtd = ["%b"]' % (b"ab" * 48, b"ab" * 48), "tdx.rtmr1", "any"),
        (b"\xff", "", "is not UTF-8"),
        (b"schema = ", "", "is not TOML"),
        (b'{"schema": 1, "schema": 1}', "", "occurs twice"),
        (b'{"schema": 1.5}', "", "not an integer"),
        (b" " * (MAX_BYTES + 1), "", "at most"),
        (document(snp_section=bound()).replace(b"schema = 1", b"schema = 2"), "schema", "is not known"),
    ],
)
def test_a_fault_is_told_with_its_field(data, key, reason):
    with pytest.raises(InvalidPolicy, match=re.escape(reason)) as caught:
        parse(data, "web.toml")
    assert caught.value.key == key
    assert str(caught.value).startswith("web.toml is not a valid policy")
    assert len(str(caught.value).splitlines()) == 1


def test_not_measuring_has_to_be_said():
    found = policy(image(1, None), release="any-measurement = true")
    assert found.release.any_measurement


def test_images_may_say_their_values_one_by_one():
    entry = (
        f'[[images]]\nepoch = 1\nsnp.host-data = ["{BINDINGS[1].host_data.hex()}"]\nsnp.measurements = ["{OTHER}"]\n'
    )
    (known,) = policy(entry).images
    assert known.whole["snp"].measurements == {bytes.fromhex(OTHER)}
    assert known.bound["snp"].measurements is None


def test_a_measurement_of_the_section_serves_all_images():
    found = policy(image(1, None), image(2, None), snp_section=f'measurements = ["{MEASURED}"]')
    assert len(found.images) == 2


def test_every_key_is_documented():
    page = (ROOT / "docs" / "formats" / "policy.md").read_text()
    keys = ["releases", "minimum-epoch", "not-before", "not-after", "evidence-seconds", "v0", "any-measurement"]
    for key in [*keys, "images", "epoch", "binding", "follow", "keys"]:
        assert f"`{key}`" in page or f"`[{key}]`" in page or f"`[[{key}]]`" in page, key
