"""What a TDX quote must not get away with. The numbers are those of our list of negative cases."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.evidence import AT, BOOT, DATA, cca, given, policy, rule_of, snp, tdx, tdx_policy

from haulout.emulator import authorities, der
from haulout.emulator.tdx import (
    COMPONENTS,
    FMSPC,
    QE_ATTRIBUTES,
    SEPT_VE_DISABLE,
    TEE_TCB_SVN,
    TdxState,
    certify,
    default_identity,
    default_info,
    platform_extension,
)
from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.der import parse as parse_der
from haulout.tee.tdx import parse as quote
from haulout.tee.tdx import pck
from haulout.tee.tdx.documents import TcbStatus
from haulout.tee.tdx.tcb import worse

LAYOUTS = [(4, quote.TYPE_TD10), (5, quote.TYPE_TD10), (5, quote.TYPE_TD15)]


def judge(state=None, table="", *, platform=None, data=None, collateral=None, **more: Any):
    platform = platform or tdx()
    data = platform.quote(DATA, BOOT, state) if data is None else data
    files = platform.collateral(AT) if collateral is None else collateral
    asked = policy(f"[tdx]\n{table}", roots=(platform.root.fingerprint(),))
    return verify(data, **{"at": AT, "collateral": given(files), "policy": asked, **more})


@pytest.mark.parametrize(("version", "body"), LAYOUTS)
def test_emulated_quotes_are_accepted(version, body):
    verdict = judge(TdxState(version=version, body=body), report_data=DATA)
    assert verdict.accepted, verdict.refusal
    assert verdict.claims.tcb.status == "UpToDate"
    assert verdict.statement.body.version == ("1.5" if body == quote.TYPE_TD15 else "1.0")


@pytest.mark.parametrize("size", [0, 1, 70, 16384])
def test_zeros_behind_a_quote_are_left_alone(size):
    assert judge(data=tdx().quote(DATA, BOOT) + bytes(size)).accepted


def test_37_debugging():
    state = TdxState(td_attributes=SEPT_VE_DISABLE | 1)
    assert rule_of(judge(state)) == "debug"
    assert rule_of(judge(state, "debug = true")) is None


KNOWN_BITS = {0, 27, 28, 29, 30, 31, 63}


@pytest.mark.parametrize("bit", [bit for bit in range(64) if bit not in KNOWN_BITS])
def test_37_reserved_attributes(bit):
    assert rule_of(judge(TdxState(td_attributes=SEPT_VE_DISABLE | 1 << bit))) == "td-attributes"


def test_37_other_attributes():
    assert rule_of(judge(TdxState(td_attributes=0))) == "td-attributes"
    assert rule_of(judge(TdxState(td_attributes=0), "sept-ve-disable = false")) is None
    movable = TdxState(td_attributes=SEPT_VE_DISABLE | 1 << 29)
    assert rule_of(judge(movable)) == "migration"
    assert rule_of(judge(movable, "migration = true")) is None
    for xfam in (0, 1, 2, 0x602E4):
        assert rule_of(judge(TdxState(xfam=xfam))) == "xfam"


@pytest.mark.parametrize(
    "bound",
    [bytes(64), hashlib.sha256(b"another key").digest() + bytes(32), b"\xff" * 64],
    ids=["zeros", "other", "ones"],
)
def test_38_the_quoting_enclave_vouches_for_another_key(bound):
    assert rule_of(judge(TdxState(qe_report_data=bound))) == "qe-binding"


def test_38_the_rest_of_the_enclaves_report_data_is_zero():
    data = bytearray(tdx().quote(DATA, BOOT))
    key = data[48 + 584 + 4 + 64 : 48 + 584 + 4 + 128]
    bound = hashlib.sha256(bytes(key) + bytes(range(32))).digest()
    assert rule_of(judge(TdxState(qe_report_data=bound + bytes(32)))) is None
    assert rule_of(judge(TdxState(qe_report_data=bound + b"\x01" * 32))) == "qe-binding"


def test_38_another_enclave():
    assert rule_of(judge(TdxState(qe_mrsigner=bytes(32)))) == "qe-identity"
    assert rule_of(judge(TdxState(qe_product=1))) == "qe-identity"
    assert rule_of(judge(TdxState(qe_svn=1))) == "tcb-level"
    assert rule_of(judge(TdxState(vendor=bytes(16)))) == "qe-vendor"


@pytest.mark.parametrize("bit", range(64))
def test_38_attributes_of_the_enclave(bit):
    """The mask leaves open the third bit of the first half, and all of the second half."""
    attributes = bytearray(QE_ATTRIBUTES)
    attributes[bit // 8] ^= 1 << bit % 8
    rule = rule_of(judge(TdxState(qe_attributes=bytes(attributes))))
    assert rule == (None if bit == 2 else "qe-identity")


def test_38_an_enclave_that_can_be_debugged_needs_no_collateral_to_be_refused():
    state = TdxState(qe_attributes=bytes((QE_ATTRIBUTES[0] | 2,)) + QE_ATTRIBUTES[1:])
    data = tdx().quote(DATA, BOOT, state)
    verdict = verify(data, at=AT, policy=tdx_policy('collateral = "optional"'))
    assert rule_of(verdict) == "qe-identity"


def collateral(**more):
    return tdx().collateral(AT, **more)


def test_39_forged_documents():
    other = authorities.p256_key()
    assert rule_of(judge(collateral=collateral(signing_key=other))) == "collateral"
    values = json.loads(collateral())
    for name in ("tcb_info", "qe_identity"):
        changed = values | {name: values[name].replace('"tcbEvaluationDataNumber":17', '"tcbEvaluationDataNumber":99')}
        assert rule_of(judge(collateral=json.dumps(changed).encode())) == "collateral"
        # Insignificant white space is signed, too.
        changed = values | {name: values[name] + " "}
        assert rule_of(judge(collateral=json.dumps(changed).encode())) == "collateral"
    for first, second in (("tcb_info_signature", "qe_identity_signature"), ("root_ca_crl", "pck_crl")):
        changed = values | {first: values[second], second: values[first]}
        rule = rule_of(judge(collateral=json.dumps(changed).encode()))
        assert rule == ("collateral" if first.startswith("tcb") else None)


def test_39_documents_signed_by_somebody_else_of_intel():
    values = json.loads(collateral())
    chain = (tdx().pck.pem() + tdx().authority.pem() + tdx().root.pem()).decode()
    for name in ("tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        assert rule_of(judge(collateral=json.dumps(values | {name: chain}).encode())) == "collateral"


def test_39_documents_below_another_root():
    other = type(tdx()).make(AT)
    values = json.loads(collateral())
    theirs = json.loads(other.collateral(AT))
    mixed = values | {name: theirs[name] for name in ("tcb_info", "tcb_info_signature", "tcb_info_issuer_chain")}
    assert rule_of(judge(collateral=json.dumps(mixed).encode())) == "test-root"
    asked = policy("[tdx]", roots=(tdx().root.fingerprint(), other.root.fingerprint()))
    assert rule_of(judge(collateral=json.dumps(mixed).encode(), policy=asked)) == "test-root"
    assert rule_of(judge(collateral=other.collateral(AT), policy=asked)) == "collateral"


@pytest.mark.parametrize("which", ["info", "identity"])
def test_39_documents_out_of_their_time(which):
    def at(**times):
        return {which: {name: value.strftime("%Y-%m-%dT%H:%M:%SZ") for name, value in times.items()}}

    day = timedelta(days=1)
    for times in ({"nextUpdate": AT - day}, {"issueDate": AT + day}, {"issueDate": AT + day, "nextUpdate": AT - day}):
        assert rule_of(judge(collateral=collateral(**at(**times)))) == "collateral-validity"
    assert rule_of(judge(collateral=collateral(**at(issueDate=AT, nextUpdate=AT)))) is None


def test_39_lists_out_of_their_time():
    assert rule_of(judge(at=AT + timedelta(days=31))) == "collateral-validity"
    early = tdx().collateral(AT + timedelta(days=9))
    assert rule_of(judge(collateral=early)) == "collateral-validity"


@pytest.mark.parametrize("which", ["info", "identity"])
def test_39_rolled_back_documents(which):
    old = collateral(**{which: {"tcbEvaluationDataNumber": 16}})
    assert rule_of(judge(None, "evaluation-number = 17", collateral=old)) == "evaluation-number"
    assert rule_of(judge(None, "evaluation-number = 16", collateral=old)) is None
    assert rule_of(judge(None, "evaluation-number = 18")) == "evaluation-number"


def test_39_another_platform():
    assert rule_of(judge(collateral=collateral(info={"fmspc": "00906ED50000"}))) == "platform"
    assert rule_of(judge(collateral=collateral(info={"pceId": "0001"}))) == "platform"
    assert rule_of(judge(None, f'platforms = ["{"00" * 6}"]')) == "chip-not-allowed"
    assert rule_of(judge(None, f'platforms = ["{FMSPC.hex()}"]')) is None


def levels(*entries):
    """TCB levels: SGX components, PCE, TDX components, status."""
    made = default_info(AT)["tcbLevels"][0]
    return [
        made
        | {
            "tcb": {
                "sgxtcbcomponents": [{"svn": svn} for svn in sgx],
                "pcesvn": pce,
                "tdxtcbcomponents": [{"svn": svn} for svn in module],
            },
            "tcbStatus": status,
            "advisoryIDs": ["INTEL-SA-00001"],
        }
        for sgx, pce, module, status in entries
    ]


OLD = (COMPONENTS, 13, (5, 0, 4) + (0,) * 13)


@pytest.mark.parametrize("status", [one for one in TcbStatus if one is not TcbStatus.UP_TO_DATE])
def test_39_a_platform_that_is_not_up_to_date(status):
    old = collateral(info={"tcbLevels": levels((*OLD, status))})
    rule = rule_of(judge(collateral=old))
    assert rule == ("tcb-revoked" if status is TcbStatus.REVOKED else "tcb-status")
    if status is not TcbStatus.REVOKED:
        verdict = judge(None, f'tcb-statuses = ["UpToDate", "{status}"]', collateral=old)
        assert verdict.accepted, verdict.refusal
        assert verdict.claims.tcb.advisories == ("INTEL-SA-00001",)
    assert rule_of(verify(tdx().quote(DATA, BOOT), at=AT, collateral=given(old))) == "test-root"


@pytest.mark.parametrize("place", range(16))
def test_39_every_component_has_to_reach_its_level(place):
    sgx = list(COMPONENTS)
    sgx[place] += 1
    newer = levels((sgx, 13, (0,) * 16, "UpToDate"))
    assert rule_of(judge(collateral=collateral(info={"tcbLevels": newer}))) == "tcb-level"
    fallback = [*newer, *levels((*OLD, "OutOfDate"))]
    assert rule_of(judge(collateral=collateral(info={"tcbLevels": fallback}))) == "tcb-status"
    module = list(TEE_TCB_SVN)
    module[place] += 1
    newer = levels((COMPONENTS, 13, module, "UpToDate"))
    # From the second TDX module on, its own version is judged by its own levels.
    rule = rule_of(judge(collateral=collateral(info={"tcbLevels": newer})))
    assert rule == (None if place < 2 else "tcb-level")


def test_39_the_pce_has_to_reach_its_level():
    newer = levels((COMPONENTS, 14, (0,) * 16, "UpToDate"))
    assert rule_of(judge(collateral=collateral(info={"tcbLevels": newer}))) == "tcb-level"


def test_39_the_first_tdx_module_is_judged_by_the_platforms_components():
    first = TdxState(tee_tcb_svn=bytes((4, 0, 4)) + bytes(13))
    assert rule_of(judge(first)) == "tcb-status"
    assert rule_of(judge(replace(first, tee_tcb_svn=bytes((5, 0, 4)) + bytes(13)))) is None


@pytest.mark.parametrize(
    ("svn", "rule"), [((6, 1, 4), None), ((7, 1, 4), None), ((5, 1, 4), "tcb-status"), ((1, 1, 4), "tcb-level")]
)
def test_39_later_tdx_modules_are_judged_by_their_own_levels(svn, rule):
    assert rule_of(judge(TdxState(tee_tcb_svn=bytes(svn) + bytes(13)))) == rule


def test_39_tdx_modules_that_are_not_intels():
    assert rule_of(judge(TdxState(tee_tcb_svn=bytes((6, 9, 4)) + bytes(13)))) == "tdx-module"
    assert rule_of(judge(TdxState(mrsignerseam=b"\x01" * 48))) == "tdx-module"
    assert rule_of(judge(TdxState(seam_attributes=b"\x01" + bytes(7)))) == "tdx-module"
    assert rule_of(judge(None, f'modules = ["{"00" * 48}"]')) == "tdx-module"


def test_39_an_old_quoting_enclave():
    assert rule_of(judge(TdxState(qe_svn=3))) == "tcb-status"
    revoked = default_identity(AT)["tcbLevels"]
    revoked[0]["tcbStatus"] = "Revoked"
    assert rule_of(judge(collateral=collateral(identity={"tcbLevels": revoked}))) == "tcb-revoked"


@pytest.mark.parametrize("platform", TcbStatus)
@pytest.mark.parametrize("part", TcbStatus)
def test_the_worst_part_makes_the_status(platform, part):
    joined = worse(platform, part)
    if "Revoked" in {platform, part}:
        assert joined == "Revoked"
    elif part is TcbStatus.UP_TO_DATE:
        assert joined == platform
    else:
        assert joined.startswith("OutOfDate")
        assert joined.endswith("ConfigurationNeeded") is ("Configuration" in platform)


def test_13_revoked_certificates():
    serials = {name: getattr(tdx(), name).certificate.serial_number for name in ("pck", "authority", "signer")}
    assert rule_of(judge(collateral=collateral(revoked=(serials["pck"],)))) == "certificate-revoked"
    for name in ("authority", "signer"):
        revoked = collateral(revoked_authorities=(serials[name],))
        assert rule_of(judge(collateral=revoked)) == "certificate-revoked"
    assert rule_of(judge(collateral=collateral(revoked=tuple(range(1, 500))))) is None


def test_13_lists_that_are_missing_or_forged():
    values = json.loads(collateral())
    for name, missing in (("root_ca_crl", "pck_crl"), ("pck_crl", "root_ca_crl")):
        assert rule_of(judge(collateral=json.dumps(values | {missing: values[name]}).encode())) == "collateral"
    forged = authorities.issue("Intel SGX Root CA", authorities.p256_key(), AT, authority=True)
    lists = authorities.revoke(forged, (), AT).hex()
    assert rule_of(judge(collateral=json.dumps(values | {"root_ca_crl": lists}).encode())) == "collateral"


def rebuilt(change):
    data = bytearray(tdx().quote(DATA, BOOT, TdxState(version=5, body=quote.TYPE_TD15)))
    change(data)
    return bytes(data)


def at(offset, form, value):
    return lambda data: struct.pack_into(form, data, offset, value)


STRUCTURES = {
    "version 3": at(0, "<H", 3),
    "version 6": at(0, "<H", 6),
    "version 4 with a body of version 5": at(0, "<H", 4),
    "key type 3": at(2, "<H", 3),
    "SGX": at(4, "<I", 0),
    "another TEE": at(4, "<I", 0x82),
    "body type 1": at(48, "<H", 1),
    "body type 4": at(48, "<H", 4),
    "body type 2 with the size of 3": at(48, "<H", 2),
    "body size 584": at(50, "<I", 584),
    "body size 0": at(50, "<I", 0),
    "body size 4 GiB": at(50, "<I", 0xFFFFFFFF),
    "signature of 0 bytes": at(702, "<I", 0),
    "signature of 4 GiB": at(702, "<I", 0xFFFFFFFF),
    "signature of 64 KiB": at(702, "<I", 1 << 16),
    "certification of another type": at(702 + 4 + 128, "<H", 5),
    "certification of 0 bytes": at(702 + 4 + 130, "<I", 0),
    "certification of 4 GiB": at(702 + 4 + 130, "<I", 0xFFFFFFFF),
    "authentication data of 64 KiB": at(702 + 4 + 134 + 448, "<H", 0xFFFF),
    "authentication data of 31 bytes": at(702 + 4 + 134 + 448, "<H", 31),
    "chain of another type": at(702 + 4 + 134 + 450 + 32, "<H", 1),
    "chain of 0 bytes": at(702 + 4 + 134 + 452 + 32, "<I", 0),
    "chain of 4 GiB": at(702 + 4 + 134 + 452 + 32, "<I", 0xFFFFFFFF),
    "something behind it": lambda data: data.extend(b"x"),
    "zeros and something behind it": lambda data: data.extend(bytes(100) + b"x"),
    "too many zeros behind it": lambda data: data.extend(bytes(16385)),
}


@pytest.mark.parametrize("case", STRUCTURES)
def test_40_another_structure(case):
    with pytest.raises(InvalidEvidence) as caught:
        judge(data=rebuilt(STRUCTURES[case]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("share", range(0, 100, 3))
def test_40_cut_short(share):
    data = tdx().quote(DATA, BOOT)
    with pytest.raises(InvalidEvidence):
        judge(data=data[: len(data) * share // 100])


def test_40_what_is_no_certificate_in_the_chain():
    whole = tdx().quote(DATA, BOOT)
    for old, new in ((b"-----\n\0", b"-----\nX"), (b"-----BEGIN", b"-----BEGIX"), (b"-----END", b"-----ENDX")):
        changed = whole.replace(old, new)[: len(whole)]
        with pytest.raises(InvalidEvidence):
            judge(data=changed)


@pytest.mark.parametrize("offset", [0, 32, 134 + 384, 134 + 416], ids=["r", "s", "QE's r", "QE's s"])
@pytest.mark.parametrize("number", [bytes(32), b"\xff" * 32], ids=["zero", "too large"])
def test_numbers_of_signatures_out_of_range(offset, number):
    data = bytearray(tdx().quote(DATA, BOOT))
    begin = 48 + 584 + 4 + offset
    data[begin : begin + 32] = number
    assert rule_of(judge(data=bytes(data))) == "signature-encoding"


def test_an_attestation_key_that_is_no_point():
    """The enclave may vouch for any bytes: they are no key for that."""
    key = b"\x01" * 64
    bound = hashlib.sha256(key + bytes(range(32))).digest() + bytes(32)
    data = bytearray(tdx().quote(DATA, BOOT, TdxState(qe_report_data=bound)))
    begin = 48 + 584 + 4 + 64
    data[begin : begin + 64] = key
    assert rule_of(judge(data=bytes(data))) == "signature-encoding"


def test_a_quote_signed_by_another_key():
    other = replace(tdx(), attestation_key=authorities.p256_key())
    assert rule_of(judge(platform=other)) is None
    theirs, own = other.quote(DATA, BOOT), tdx().quote(DATA, BOOT)
    begin = 48 + 584 + 4
    mixed = own[:begin] + theirs[begin : begin + 64] + own[begin + 64 :]
    assert rule_of(judge(data=mixed)) == "signature"


def certified(**more):
    return replace(tdx(), pck=certify(tdx().authority, AT, **more))


def pairs(**changed):
    """The extension of a platform, with a part replaced or left out."""
    parts = []
    for pair in parse_der(platform_extension()).parts():
        name, value = list(pair.parts())
        content = changed.get(name.name().rpartition(".")[2], der.value(value.tag, value.content))
        if content is not None:
            parts.append(der.sequence(der.name(name.name()), content))
    return der.sequence(*parts)


EXTENSIONS = {
    "empty": b"",
    "no sequence": der.integer(1),
    "an empty sequence": der.sequence(),
    "longer": platform_extension() + b"\0",
    "cut short": platform_extension()[:-1],
    "a part without a value": der.sequence(der.sequence(der.name(pck.FMSPC))),
    "a part of three": der.sequence(der.sequence(der.name(pck.FMSPC), der.octets(FMSPC), der.octets(FMSPC))),
    "a name that is none": der.sequence(der.sequence(der.octets(FMSPC), der.octets(FMSPC))),
    "no TCB": pairs(**{"2": None}),
    "no PCEID": pairs(**{"3": None}),
    "no FMSPC": pairs(**{"4": None}),
    "an FMSPC of 5 bytes": pairs(**{"4": der.octets(bytes(5))}),
    "an FMSPC that is a number": pairs(**{"4": der.integer(4)}),
    "a PCEID of 3 bytes": pairs(**{"3": der.octets(bytes(3))}),
    "a TCB that is a number": pairs(**{"2": der.integer(3)}),
    "an empty TCB": pairs(**{"2": der.sequence()}),
    "a component of two bytes": pairs(**{"2": der.sequence(der.sequence(der.name(f"{pck.TCB}.1"), der.integer(300)))}),
    "a part twice": der.sequence(
        der.sequence(der.name(pck.FMSPC), der.octets(FMSPC)), der.sequence(der.name(pck.FMSPC), der.octets(FMSPC))
    ),
}


@pytest.mark.parametrize("case", EXTENSIONS)
def test_a_platform_that_is_not_described(case):
    assert rule_of(judge(platform=certified(extension=EXTENSIONS[case]))) == "certificate-extension"


def test_a_platform_that_is_not_described_at_all():
    plain = authorities.issue("Intel SGX PCK Certificate", authorities.p256_key(), AT, issuer=tdx().authority)
    assert rule_of(judge(platform=replace(tdx(), pck=plain))) == "certificate-extension"


@pytest.mark.parametrize("name", ["Intel SGX TCB Signing", "Intel SGX PCK Platform CA", "SEV-VCEK"])
def test_10_another_certificate_in_the_place_of_the_platforms(name):
    # Named like its issuer, it is taken for a root, which did not sign itself.
    assert rule_of(judge(platform=certified(name=name))) == ("chain" if "Platform" in name else "certificate-role")


def test_10_another_chain():
    direct = replace(tdx(), pck=certify(tdx().root, AT))
    assert rule_of(judge(platform=direct)) in {"certificate-role", "chain"}
    other = authorities.issue("Intel SGX Other CA", authorities.p256_key(), AT, issuer=tdx().root, authority=True)
    assert rule_of(judge(platform=replace(tdx(), authority=other, pck=certify(other, AT)))) == "certificate-role"
    processor = authorities.issue(
        "Intel SGX PCK Processor CA", authorities.p256_key(), AT, issuer=tdx().root, authority=True, path_length=0
    )
    assert judge(platform=replace(tdx(), authority=processor, pck=certify(processor, AT))).accepted
    two = replace(tdx(), authority=certify(tdx().root, AT))
    assert rule_of(judge(platform=two)) == "certificate-role"


def test_11_the_emulator_where_no_policy_for_tests_names_it():
    data, files = tdx().quote(DATA, BOOT), given(tdx().collateral(AT))
    for asked in (None, policy("[tdx]"), policy("test = true\n[tdx]"), policy("[tdx]", roots=("00" * 32,))):
        assert rule_of(verify(data, at=AT, collateral=files, policy=asked)) == "test-root"


@pytest.mark.parametrize("days", [-3, 3652])
def test_13_certificates_that_are_not_valid_at_the_time(days):
    assert rule_of(judge(at=AT + timedelta(days=days))) == "certificate-validity"


@pytest.mark.parametrize("name", ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"])
def test_16_another_measurement(name):
    right = {"mrtd": BOOT.mrtd()} | {f"rtmr{number}": value for number, value in enumerate(BOOT.rtmr())}
    assert rule_of(judge(None, f'{name} = ["{right[name].hex()}"]')) is None
    for wrong in (right[name][:47] + b"\x99", b"\x99" + right[name][1:], right[name][:24] + b"\x99" * 24):
        assert rule_of(judge(None, f'{name} = ["{wrong.hex()}"]')) == "measurement"


@pytest.mark.parametrize(
    ("name", "rule"),
    [("mrconfigid", "workload"), ("mrowner", "owner"), ("mrownerconfig", "owner"), ("mrservicetd", "owner")],
)
def test_23_another_workload_or_owner(name, rule):
    table = f'{"service-td" if name == "mrservicetd" else name} = ["{"07" * 48}"]'
    both: dict[str, Any] = {"version": 5, "body": quote.TYPE_TD15}
    assert rule_of(judge(TdxState(**both), table)) == rule
    assert rule_of(judge(TdxState(**both | {name: b"\x07" * 48}), table)) is None
    if name == "mrservicetd":
        assert rule_of(judge(TdxState(mrservicetd=b"\x07" * 48), table)) == rule


@pytest.mark.parametrize("expected", [bytes(64), DATA[:32] + bytes(32), DATA[:63]])
def test_14_report_data(expected):
    assert rule_of(judge(report_data=expected)) == "report-data"


def test_collateral_that_is_missing():
    data = tdx().quote(DATA, BOOT)
    assert rule_of(verify(data, at=AT, policy=tdx_policy())) == "tcb-status"
    assert rule_of(verify(data, at=AT, policy=tdx_policy('collateral = "optional"'))) is None


DOCUMENTS = {
    "tcb_info": [
        ("id", "SGX"),
        ("version", 2),
        ("version", "3"),
        ("issueDate", "yesterday"),
        ("issueDate", 7),
        ("nextUpdate", "2026-06-01"),
        ("fmspc", "90C06F"),
        ("fmspc", "90C06F00000G"),
        ("pceId", None),
        ("tcbEvaluationDataNumber", True),
        ("tcbEvaluationDataNumber", -1),
        ("tdxModule", []),
        ("tdxModule", {}),
        ("tdxModuleIdentities", {}),
        ("tdxModuleIdentities", [1]),
        ("tcbLevels", []),
        ("tcbLevels", [{}]),
        ("tcbLevels", levels((COMPONENTS[:15], 13, (0,) * 16, "UpToDate"))),
        ("tcbLevels", levels(((256,) * 16, 13, (0,) * 16, "UpToDate"))),
        ("tcbLevels", levels((COMPONENTS, 13, (0,) * 16, "Fine"))),
        ("tcbLevels", levels((COMPONENTS, 13, (0,) * 16, "UpToDate")) * 257),
    ],
    "qe_identity": [
        ("id", "QE"),
        ("version", 1),
        ("miscselect", "0"),
        ("miscselectMask", None),
        ("attributes", "00" * 15),
        ("attributesMask", "zz" * 16),
        ("mrsigner", ""),
        ("isvprodid", "2"),
        ("tcbLevels", None),
    ],
}


@pytest.mark.parametrize(
    ("document", "name", "value"), [(document, *case) for document, cases in DOCUMENTS.items() for case in cases]
)
def test_documents_that_cannot_be_read(document, name, value):
    which = "info" if document == "tcb_info" else "identity"
    with pytest.raises(InvalidEvidence) as caught:
        judge(collateral=collateral(**{which: {name: value}}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


MEMBERS = sorted(json.loads(collateral()))


@pytest.mark.parametrize("value", [None, 7, "", "zz", "\ud800", {}], ids=repr)
@pytest.mark.parametrize("name", MEMBERS)
def test_collateral_that_cannot_be_read(name, value):
    values = json.loads(collateral())
    values[name] = value
    with pytest.raises(InvalidEvidence):
        judge(collateral=json.dumps(values).encode())
    del values[name]
    with pytest.raises(InvalidEvidence):
        judge(collateral=json.dumps(values).encode())


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"{}", b"\xff", b'{"a":1.5}', b'{"a":1,"a":1}', b"[" * 1000])
def test_junk_for_collateral(junk):
    with pytest.raises(InvalidEvidence):
        judge(collateral=junk)


def test_collateral_belongs_to_one_quote():
    files = given(tdx().collateral(AT), tdx().collateral(AT))
    with pytest.raises(InvalidEvidence, match="one file"):
        verify(tdx().quote(DATA, BOOT), at=AT, collateral=files)
    with pytest.raises(InvalidEvidence, match="no collateral"):
        verify(cca().token(DATA, BOOT), at=AT, collateral=files[:1])
    with pytest.raises(InvalidEvidence, match="not a revocation list"):
        verify(snp().report(DATA, BOOT), at=AT, collateral=files[:1])


def test_an_independent_verifier_accepts_emulated_quotes():
    """dcap-qvl reads the quote format on its own; below 0.3.9 it does not check the QE's identity (CVE-2026-22696)."""
    dcap_qvl = pytest.importorskip("dcap_qvl", minversion="0.3.9", reason="dcap-qvl is not installed, or too old")
    from cryptography.hazmat.primitives.serialization import Encoding

    theirs = dcap_qvl.QuoteCollateralV3.from_json(tdx().collateral(AT).decode())
    root = tdx().root.certificate.public_bytes(Encoding.DER)

    def other(data, files=theirs):
        return dcap_qvl.verify_with_root_ca(data, files, root, int(AT.timestamp()))

    for version, body in LAYOUTS:
        data = tdx().quote(DATA, BOOT, TdxState(version=version, body=body))
        assert other(data).status == "UpToDate"
        changed = bytearray(data)
        changed[600] ^= 1
        with pytest.raises(ValueError, match=r"."):
            other(bytes(changed))
    with pytest.raises(ValueError, match=r"."):
        other(tdx().quote(DATA, BOOT, TdxState(qe_mrsigner=bytes(32))))


@pytest.mark.parametrize("status", [one for one in TcbStatus if one is not TcbStatus.REVOKED])
@pytest.mark.parametrize("svn", [(6, 1, 4), (5, 1, 4)])
@pytest.mark.parametrize("qe", [6, 3])
def test_an_independent_verifier_computes_the_same_status(status, svn, qe):
    dcap_qvl = pytest.importorskip("dcap_qvl", minversion="0.3.9", reason="dcap-qvl is not installed, or too old")
    from cryptography.hazmat.primitives.serialization import Encoding

    files = collateral(info={"tcbLevels": levels((COMPONENTS, 13, (0,) * 16, status))})
    data = tdx().quote(DATA, BOOT, TdxState(tee_tcb_svn=bytes(svn) + bytes(13), qe_svn=qe))
    root = tdx().root.certificate.public_bytes(Encoding.DER)
    theirs = dcap_qvl.verify_with_root_ca(
        data, dcap_qvl.QuoteCollateralV3.from_json(files.decode()), root, int(AT.timestamp())
    )
    every = ", ".join(f'"{one}"' for one in TcbStatus if one is not TcbStatus.REVOKED)
    verdict = judge(data=data, collateral=files, table=f"tcb-statuses = [{every}]")
    assert verdict.accepted, verdict.refusal
    assert str(verdict.claims.tcb.status) == theirs.status
