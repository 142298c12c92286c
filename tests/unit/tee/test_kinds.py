"""The table of kinds: a made-up TEE is one row, and everything works on it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from tests.support.evidence import AT, BOOT, DATA, cca, given, policy, rule_of, snp, tdx
from tests.support.tpm import Quoted

from haulout.documents import Document
from haulout.errors import InvalidEvidence, InvalidPolicy
from haulout.tee import KINDS, Anchor, Given, Kind, Rule, parse_policy, verify
from haulout.tee.rules import Allowed, require_allowed
from haulout.tee.verdict import ORIGIN, Refused

if TYPE_CHECKING:
    from haulout.local import Table
    from haulout.tee.inputs import Inputs

MARK = b"TOY1"


@dataclass(frozen=True, slots=True)
class Toy(Document):
    report_data: bytes
    measurement: bytes
    signed: bytes
    signature: bytes

    json_members: ClassVar = ("measurement", "report_data")


@dataclass(frozen=True, slots=True)
class ToyClaims(Document):
    toy: Toy
    anchor: Anchor

    json_members: ClassVar = ORIGIN


@dataclass(frozen=True, slots=True)
class ToyPolicy:
    measurements: Allowed = None


def parse(data: bytes) -> Toy:
    if len(data) != 164:
        raise InvalidEvidence("toy", f"it has {len(data)} bytes; a toy has 164")
    return Toy(data[4:68], data[68:100], data[:100], data[100:])


def genuine(toy: Toy, inputs: Inputs[ToyPolicy]) -> ToyClaims:
    for file in inputs.certificates:
        try:
            Ed25519PublicKey.from_public_bytes(file.data).verify(toy.signature, toy.signed)
        except InvalidSignature:
            continue
        return ToyClaims(toy, Anchor("toy", "Toys", "", file.data.hex()))
    raise Refused(Rule.SIGNATURE, "no key given signed it")


def read_policy(table: Table) -> ToyPolicy:
    return ToyPolicy(table.digests("measurements", (32,)))


def require(claims: ToyClaims, section: ToyPolicy) -> tuple[str, ...]:
    require_allowed(Rule.MEASUREMENT, "its measurement", claims.toy.measurement, section.measurements)
    return ("measurements",) if section.measurements is None else ()


TOY = Kind(
    name="toy",
    title="toy statement",
    recognise=lambda data: data.startswith(MARK),
    parse=parse,
    genuine=genuine,
    policy=read_policy,
    strict=ToyPolicy(frozenset({b"\xff" * 32})),
    require=require,
)
ALL = (TOY, *KINDS)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = [Given("key", KEY.public_key().public_bytes_raw())]


def toy(measurement: bytes = b"\xaa" * 32) -> bytes:
    signed = MARK + DATA + measurement
    return signed + KEY.sign(signed)


def test_a_new_tee_is_one_row():
    allowed = parse_policy(b'schema = 1\n[toy]\nmeasurements = ["' + b"aa" * 32 + b'"]', kinds=ALL)
    verdict = verify(toy(), at=AT, certificates=PUBLIC, policy=allowed, report_data=DATA, kinds=ALL)
    assert (verdict.accepted, verdict.kind, verdict.title, verdict.open) == (True, "toy", "toy statement", ())
    found = verdict.to_dict()
    assert (found["kind"], found["verdict"], found["beware"]) == ("toy", "accepted", None)
    assert found["claims"] == {"measurement": "aa" * 32, "report_data": DATA.hex()}
    assert found["origin"] == {"root": "toy", "root_fingerprint": PUBLIC[0].data.hex(), "test_root": False}

    def judge(data: bytes, **more: Any) -> str | None:
        return rule_of(verify(data, at=AT, kinds=ALL, **{"certificates": PUBLIC, "policy": allowed, **more}))

    assert judge(toy(b"\xbb" * 32)) == "measurement"
    assert judge(toy(), certificates=()) == judge(toy()[:-2] + b"\xff\xff") == "signature"
    assert judge(toy(), report_data=bytes(64)) == "report-data"
    assert judge(toy(), policy=policy("[cca]")) == "tee"


def test_what_a_new_tee_has_in_common_with_the_others():
    verdict = verify(toy(), at=AT, certificates=PUBLIC, kinds=ALL)
    assert verdict.accepted
    assert verdict.warning is not None
    assert verdict.warning.rule == "measurement"
    open_policy = parse_policy(b"schema = 1\n[toy]", kinds=ALL)
    assert verify(toy(), at=AT, certificates=PUBLIC, policy=open_policy, kinds=ALL).open == ("measurements",)
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(b"schema = 1\n[toy]\nmeasurement = []", kinds=ALL)
    assert (caught.value.key, caught.value.hint) == ("toy.measurement", "did you mean 'measurements'?")
    with pytest.raises(InvalidEvidence, match="a toy has 164"):
        verify(toy()[:-1], at=AT, kinds=ALL)


def test_a_tee_that_is_not_in_the_table_is_not_known():
    with pytest.raises(InvalidEvidence, match="format is not known") as caught:
        verify(toy(), at=AT)
    known = "known: Arm CCA token, TDX quote, TPM quote, SEV-SNP report; binary, or in "
    assert (caught.value.hint or "").startswith(known)
    with pytest.raises(InvalidPolicy) as wrong:
        parse_policy(b"schema = 1\n[toy]")
    assert wrong.value.key == "toy"


def test_each_kind_recognises_its_own_evidence_and_no_other():
    made = {"snp": snp().report(DATA, BOOT), "tdx": tdx().quote(DATA, BOOT), "cca": cca().token(DATA, BOOT)}
    made["tpm"] = Quoted().evidence()
    assert set(made) == {kind.name for kind in KINDS}
    for kind in KINDS:
        for name, data in made.items():
            # A report has no mark but its length.
            if kind.name != "snp" or name == "snp":
                assert kind.recognise(data) is (kind.name == name)


def test_statements_and_claims_say_the_same_in_json_whatever_the_time():
    verdict = verify(tdx().quote(DATA, BOOT), at=AT, collateral=given(tdx().collateral(AT)), policy=_tests(tdx()))
    assert verdict.claims is not None
    origin = verdict.claims.to_dict()
    assert list(origin)[:4] == ["root", "root_fingerprint", "test_root", "revocation_checked"]
    assert (origin["tcb_status"], origin["evaluation_number"], origin["advisories"]) == ("UpToDate", 17, [])
    bare = verify(tdx().quote(DATA, BOOT), at=AT, policy=_tests(tdx(), 'collateral = "optional"'))
    assert bare.claims is not None
    origin = bare.claims.to_dict()
    assert (origin["tcb_status"], origin["tcb_date"], origin["advisories"]) == (None, None, [])
    assert origin["revocation_checked"] is False
    assert bare.statement.to_dict() == verdict.statement.to_dict()


def _tests(platform, table=""):
    return policy(f"[{platform.kind}]\n{table}", roots=(platform.root.fingerprint(),))


def test_verifying_loads_nothing_that_could_touch_the_system():
    """The room is pure: the ground floor's tables come without its files, locks and programs."""
    script = (
        "import sys; before = set(sys.modules)\n"
        "from haulout.tee import verify, parse_policy, KINDS\n"
        "parse_policy(b'schema = 1\\n[tdx]')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "haulout.local.tables" in loaded
    assert [name for name in loaded if name.startswith("haulout.local.")] == ["haulout.local.tables"]
    assert not {"fcntl", "tempfile", "subprocess", "ssl", "http.client", "urllib3"} & set(loaded)
    assert not [name for name in loaded if name.startswith("haulout.emulator")]
