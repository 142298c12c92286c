"""Policies: every key known, every value checked, every fault told with its place."""

from __future__ import annotations

import re

import pytest
from tests.support.evidence import ROOT

from haulout.errors import InvalidPolicy
from haulout.tee import parse_policy
from haulout.tee.policy import MAX_BYTES
from haulout.tee.rules import Need
from haulout.tee.snp.parse import Product, Tcb

HEX = {size: "ab" * size for size in (6, 8, 16, 32, 33, 48, 64)}
EVERYTHING = f"""
schema = 1
name = "everything"
test = true
roots = ["{HEX[32]}"]
[freshness]
report-data-required = true
nonce-seconds = 60
[snp]
products = ["Genoa", "Turin"]
versions = [3, 5]
signers = ["vcek", "vlek"]
csp-ids = ["CN=x"]
chip-ids = ["{HEX[64]}", "{HEX[8]}"]
measurements = ["{HEX[48]}"]
host-data = ["{HEX[32]}"]
family-ids = ["{HEX[16]}"]
image-ids = ["{HEX[16]}"]
id-keys = ["{HEX[48]}"]
author-keys = ["{HEX[48]}"]
vmpl = 1
guest-svn = 3
debug = false
migration = false
smt = false
single-socket = true
platform-required = ["ecc", "alias-check"]
mitigations = 7
revocation-lists = "required"
[snp.tcb.Genoa]
bootloader = 1
tee = 2
snp = 3
microcode = 4
[snp.tcb.Turin]
fmc = 5
[tdx]
collateral = "required"
tcb-statuses = ["UpToDate", "SWHardeningNeeded"]
evaluation-number = 17
platforms = ["{HEX[6]}"]
debug = false
migration = false
sept-ve-disable = true
modules = ["{HEX[48]}"]
mrtd = ["{HEX[48]}"]
rtmr0 = ["{HEX[48]}"]
rtmr1 = ["{HEX[48]}"]
rtmr2 = ["{HEX[48]}"]
rtmr3 = ["{HEX[48]}"]
mrconfigid = ["{HEX[48]}"]
mrowner = ["{HEX[48]}"]
mrownerconfig = ["{HEX[48]}"]
service-td = ["{HEX[48]}"]
[cca]
roots = ["{HEX[32]}"]
platform-keys = ["{HEX[32]}"]
profiles = ["http://arm.com/CCA-SSD/1.0.0"]
instances = ["{HEX[33]}"]
implementations = ["{HEX[32]}"]
rim = ["{HEX[32]}", "{HEX[64]}"]
rem0 = ["{HEX[64]}"]
rem1 = ["{HEX[64]}"]
rem2 = ["{HEX[64]}"]
rem3 = ["{HEX[64]}"]
personalization = ["{HEX[64]}"]
"""


def test_every_key_is_read():
    policy = parse_policy(EVERYTHING.encode())
    assert (policy.name, policy.test, policy.roots) == ("everything", True, frozenset({HEX[32]}))
    assert (policy.report_data_required, policy.nonce_seconds) == (True, 60)
    assert policy.sections["snp"].tcb == {Product.GENOA: Tcb(1, 2, 3, 4), Product.TURIN: Tcb(0, 0, 0, 0, 5)}
    assert policy.sections["snp"].chip_ids == frozenset({b"\xab" * 64, b"\xab" * 8})
    assert policy.sections["snp"].platform_required == ("ecc", "alias-check")
    assert policy.sections["snp"].revocation_lists is Need.REQUIRED
    assert policy.sections["tdx"].rtmr[3] == frozenset({b"\xab" * 48})
    assert policy.sections["cca"].rim == frozenset({b"\xab" * 32, b"\xab" * 64})


def test_what_is_not_mentioned_is_strict():
    policy = parse_policy(b'schema = 1\n[snp]\nproducts = ["Genoa"]\n[tdx]\n[cca]', "p.toml")
    assert (policy.name, policy.test, policy.roots) == ("p.toml", False, frozenset())
    assert (policy.sections["snp"].versions, policy.sections["snp"].signers, policy.sections["snp"].vmpl) == (
        (3, 4, 5),
        ("vcek",),
        0,
    )
    assert not any(
        (
            policy.sections["snp"].debug,
            policy.sections["snp"].migration,
            policy.sections["tdx"].debug,
            policy.sections["tdx"].migration,
        )
    )
    assert policy.sections["tdx"].tcb_statuses == ("UpToDate",)
    assert policy.sections["tdx"].collateral is Need.REQUIRED
    assert policy.sections["tdx"].sept_ve_disable


LINES = [line for line in EVERYTHING.strip().split("\n") if "=" in line]


@pytest.mark.parametrize("line", LINES, ids=[line.split(" =")[0] for line in LINES])
def test_every_key_misspelt_is_refused_with_its_place(line):
    name = line.partition(" =")[0]
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(EVERYTHING.replace(f"\n{line}\n", f"\n{name[0]}{line}\n", 1).encode())
    if name not in {"schema", "products"}:
        assert caught.value.key.rpartition(".")[2] == name[0] + name
        assert caught.value.reason == "is not a known key"
        assert caught.value.hint is not None
        assert name in caught.value.hint


@pytest.mark.parametrize("line", LINES, ids=[line.split(" =")[0] for line in LINES])
@pytest.mark.parametrize("value", ["[]", "{}", "1.5", "-1", "2024-01-01", '[""]', "[true]", '"\\u0000"', "[[1]]"])
def test_every_key_with_an_impossible_value_is_refused(line, value):
    name = line.partition(" =")[0]
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(EVERYTHING.replace(f"\n{line}\n", f"\n{name} = {value}\n", 1).encode())
    assert str(caught.value).isprintable()


WRONG = {
    "empty": (b"", "schema"),
    "not TOML": (b"schema", ""),
    "JSON": (b'{"schema": 1}', ""),
    "not UTF-8": (b"schema = 1\nname = '\xff'", ""),
    "a schema of the future": (b"schema = 2", "schema"),
    "a schema that is no number": (b"schema = true", "schema"),
    "a key twice": (b"schema = 1\nschema = 1", ""),
    "an unknown key": (b"schema = 1\nallow-all = true", "allow-all"),
    "an unknown table": (b"schema = 1\n[sgx]", "sgx"),
    "an unknown key within": (b"schema = 1\n[tdx]\nmrdt = []", "tdx.mrdt"),
    "an unknown product": (b'schema = 1\n[snp]\nproducts = ["Rome"]', "snp.products"),
    "no products": (b"schema = 1\n[snp]", "snp.products"),
    "a floor of an unknown product": (b'schema = 1\n[snp]\nproducts = ["Genoa"]\n[snp.tcb.Rome]\n', "snp.tcb.Rome"),
    "a component of another product": (
        b'schema = 1\n[snp]\nproducts = ["Genoa"]\n[snp.tcb.Genoa]\nfmc = 1',
        "snp.tcb.Genoa.fmc",
    ),
    "a component that is no byte": (
        b'schema = 1\n[snp]\nproducts = ["Genoa"]\n[snp.tcb.Genoa]\ntee = 256',
        "snp.tcb.Genoa.tee",
    ),
    "a table that is none": (b"schema = 1\nsnp = 5", "snp"),
    "a prefix of a measurement": (b'schema = 1\n[tdx]\nmrtd = ["abcd"]', "tdx.mrtd"),
    "hexadecimal with spaces": (b'schema = 1\n[tdx]\nmrtd = ["' + b"ab " * 32 + b'"]', "tdx.mrtd"),
    "what was revoked": (b'schema = 1\n[tdx]\ntcb-statuses = ["Revoked"]', "tdx.tcb-statuses"),
    "roots without being for tests": (b'schema = 1\nroots = ["' + b"ab" * 32 + b'"]\n[tdx]', "roots"),
    "too long": (b"schema = 1\n#" + b"x" * MAX_BYTES, ""),
    "a huge number": (b"schema = " + b"9" * 5000, ""),
    "a list of 10001": (b"schema = 1\n[tdx]\nmrtd = [" + b'"x",' * 10_001 + b"]", "tdx.mrtd"),
    "deeply nested": (b"schema = 1\na = " + b"[" * 100_000, ""),
    "a name of two lines": (b'schema = 1\nname = "a\\nb"', "name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_policies_that_are_refused(case):
    data, key = WRONG[case]
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(data, "p.toml")
    assert caught.value.key == key
    assert caught.value.policy == "p.toml"
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


DOCUMENT = (ROOT / "docs/evidence.md").read_text(encoding="utf-8")
POLICY = DOCUMENT.partition("## Policy")[2].partition("## Rules")[0]


@pytest.mark.parametrize("name", sorted({line.partition(" =")[0] for line in LINES}))
def test_every_key_of_a_policy_is_documented(name):
    if re.fullmatch(r"rtmr[12]|rem[12]", name):
        pytest.skip("named by the first and the last")
    assert re.search(rf"`(freshness\.)?{name}`", POLICY)
