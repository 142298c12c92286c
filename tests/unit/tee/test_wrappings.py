"""Evidence as tools hand it out: what is around it is taken off, and changes nothing about the verdict."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, given, rsa_keys, snp, snp_policy, tdx, tdx_policy

from haulout.emulator.snp import SnpState
from haulout.errors import InvalidEvidence
from haulout.tee import Given, as_report_data, certificates_of, unwrap, verify
from haulout.tee.snp.parse import Product, parse, read_tcb
from haulout.usecases.verify_evidence import verify_evidence

GUID = bytes(range(1, 17))


def report():
    return snp().report(DATA, BOOT)


def quote():
    return tdx().quote(DATA, BOOT)


def token():
    return cca().token(DATA, BOOT)


KINDS = {"snp": report, "tdx": quote, "cca": token}


def field(number, data):
    size, out = len(data), bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *out, size]) + data


def shown(data):
    return json.dumps(data).encode()


WRAPPINGS = {
    "hexadecimal": lambda data: data.hex().encode(),
    "hexadecimal with 0x and a line break": lambda data: b"0x" + data.hex().upper().encode() + b"\n",
    "lines of xxd -p": lambda data: b"\n".join(data.hex()[at : at + 60].encode() for at in range(0, 2 * len(data), 60)),
    "base64": base64.b64encode,
    "lines of base64": base64.encodebytes,
    "base64url without its end": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "base64 of hexadecimal": lambda data: base64.b64encode(data.hex().encode()),
    "Trustee's TDX": lambda data: shown({"cc_eventlog": "AAAA" * 999, "quote": base64.b64encode(data).decode()}),
    "Trustee's CCA": lambda data: shown({"token": list(data)}),
    "Trustee's message": lambda data: shown(
        {"tee-evidence": {"primary_evidence": {"quote": base64.b64encode(data).decode()}, "additional_evidence": ""}}
    ),
    "JSON in JSON": lambda data: shown({"evidence": json.dumps({"quote": data.hex()})}),
    "dstack": lambda data: shown({"quote": data.hex(), "event_log": "[]", "report_data": "00" * 64, "vm_config": "{}"}),
    "dstack's prefix": lambda data: shown({"intel_quote": "0x" + data.hex(), "all": [1.5, None, True]}),
    "a JSON string": lambda data: shown(data.hex()),
    "twice the same": lambda data: shown([data.hex(), base64.b64encode(data).decode()]),
    "Oak": lambda data: field(1, b"\x08\x01" + field(2, data) + field(3, b"key")) + field(2, field(1, b"layer" * 99)),
    "Oak, endorsed": lambda data: field(1, field(1, b"\x08\x02" + field(2, data))) + field(2, b"endorsement" * 99),
    "base64 of protobuf": lambda data: base64.b64encode(field(1, field(2, data))),
}


def judge(kind, data, **more):
    files: dict[str, dict[str, Any]] = {
        "snp": {"certificates": [snp().certificates()], "policy": snp_policy()},
        "tdx": {"collateral": [tdx().collateral(AT)], "policy": tdx_policy()},
        "cca": {"certificates": [cca().certificates()], "policy": cca_policy()},
    }
    asked: dict[str, Any] = {"at": AT, "nonce": DATA} | files[kind] | more
    return verify_evidence(data, **asked)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRAPPINGS)
def test_evidence_is_found_in_what_is_around_it(name, kind):
    data = KINDS[kind]()
    wrapped = WRAPPINGS[name](data)
    assert unwrap(wrapped).evidence == data
    result = judge(kind, wrapped)
    assert result.accepted, result.verdict.refusal
    assert result.wrapping
    assert judge(kind, data).wrapping == ()
    changed = bytearray(data)
    changed[200] ^= 1
    assert unwrap(WRAPPINGS[name](bytes(changed))).evidence == changed


def rust(data, product):
    """Return a report as the crate ``sev`` writes it in JSON."""
    found = parse(data)

    def tcb(raw):
        return {"fmc": None, **read_tcb(raw, product).parts}

    def firmware(at):
        return {"major": data[at + 2], "minor": data[at + 1], "build": data[at]}

    octets = {
        name: list(getattr(found, name))
        for name in (
            *("family_id", "image_id", "report_data", "measurement", "host_data", "id_key_digest"),
            *("author_key_digest", "report_id", "report_id_ma", "chip_id"),
        )
    }
    return {
        "version": found.version,
        "guest_svn": found.guest_svn,
        "policy": found.policy.bits,
        "vmpl": found.vmpl,
        "sig_algo": found.signature_algorithm,
        "plat_info": found.platform_info,
        "key_info": found.key_info,
        **octets,
        "current_tcb": tcb(found.current_tcb),
        "reported_tcb": tcb(found.reported_tcb),
        "committed_tcb": tcb(found.committed_tcb),
        "launch_tcb": tcb(found.launch_tcb),
        "cpuid_fam_id": found.cpuid and found.cpuid.family,
        "cpuid_mod_id": found.cpuid and found.cpuid.model,
        "cpuid_step": found.cpuid and found.cpuid.stepping,
        "launch_mit_vector": found.launch_mitigations,
        "current_mit_vector": found.current_mitigations,
        "current": firmware(0x1E8),
        "committed": firmware(0x1EC),
        "signature": {"r": list(found.r), "s": list(found.s)},
    }


@pytest.mark.parametrize("product", Product)
@pytest.mark.parametrize("version", [2, 3, 5])
def test_trustees_reports_are_put_together_again(product, version):
    state = SnpState(version=version)
    platform = snp(product)
    data = platform.report(DATA, BOOT, state)
    leaf = platform.vcek.certificate.public_bytes(Encoding.DER)
    chain = [{"cert_type": "VCEK", "data": list(leaf)}]
    wrapped = shown({"attestation_report": rust(data, product), "cert_chain": chain})
    assert unwrap(wrapped).evidence == data
    # The certificate that lies beside it is used, too; the emulator's authorities are given.
    rules = snp_policy("versions = [2, 3, 5]", product)
    above = [platform.ask.pem() + platform.ark.pem()]
    result = verify_evidence(wrapped, at=AT, certificates=above, policy=rules)
    assert result.accepted, result.verdict.refusal


def test_the_buffer_of_a_driver_and_its_table_of_certificates():
    data, leaf = report(), snp().vcek.certificate.public_bytes(Encoding.DER)
    answer = struct.pack("<II24x", 0, len(data)) + data + bytes(4000 - 32 - len(data))
    assert unwrap(answer).evidence == data
    table = GUID + struct.pack("<II", 48, len(leaf)) + bytes(24) + leaf + bytes(3)
    found = unwrap(data + table)
    assert (found.evidence, [one.data for one in found.certificates]) == (data, [leaf])
    assert [one.data for one in certificates_of(Given("auxblob", table))] == [leaf]
    assert certificates_of(Given("cert", leaf)) == [Given("cert", leaf)]
    for broken in (table[:-10], GUID + struct.pack("<II", 0, len(leaf)) + bytes(24) + leaf, table[:24]):
        assert certificates_of(Given("file", broken)) == [Given("file", broken)]


def test_a_report_of_another_length_gets_the_command_that_unwraps_it():
    with pytest.raises(InvalidEvidence, match="1204 bytes") as caught:
        judge("snp", report() + bytes(range(20)))
    assert caught.value.hint is not None
    assert "head -c 1184" in caught.value.hint


def test_several_pieces_of_evidence_are_not_chosen_among():
    with pytest.raises(InvalidEvidence, match="2 pieces"):
        unwrap(shown([report().hex(), quote().hex()]))
    # What only has the length of a report is none.
    data = report()
    assert unwrap(shown([data.hex(), bytes(1184).hex()])).evidence == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{" * 100_000,
        b"[" * 400 + b"]" * 400,
        b"\x0a\x0a" * 5000,
        field(1, field(1, field(1, bytes(300)))),
        b"0" * 999,
        b"A" * 99_997,
        shown({"quote": "zz" * 600}),
        shown([list(range(300)), ["", 0] * 9999]),
        b"HCL",
    ],
    ids=range(10),
)
def test_what_holds_no_evidence_is_returned_as_it_is(data):
    assert unwrap(data).evidence == data


def test_searching_is_bounded():
    data = quote()
    for _ in range(30):
        data = field(1, data)
    assert unwrap(data).evidence == data
    assert unwrap(shown([["x" * 300] * 30_000, quote().hex()])).layers == ()


# Azure


KEY = rsa_keys()[0]
NONCE = bytes(range(48))


def b64(number):
    return base64.urlsafe_b64encode(number.to_bytes(-(-number.bit_length() // 8))).rstrip(b"=").decode()


def runtime(key=KEY, **more):
    numbers = key.public_key().public_numbers()
    named = {"kid": "HCLAkPub", "kty": "RSA", "e": b64(numbers.e), "n": b64(numbers.n)}
    return shown({"keys": [named], "vm-configuration": {"secure-boot": True}, "user-data": DATA.hex().upper()} | more)


def hcl(data=None, kind=2, algorithm=1, report_data=None):
    data = runtime() if data is None else data
    digest = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}[algorithm](data).digest()
    hardware = snp().report(report_data or as_report_data(digest), BOOT) if kind == 2 else bytes(1184)
    head = struct.pack("<4sIIIIIII", b"HCLA", 1, 2346, 2, 0, 0, 0, 0)
    request = struct.pack("<IIIII", 20 + len(data), 1, kind, algorithm, len(data))
    return head + hardware + request + data + bytes(200)


def tpm_quote(nonce=NONCE, key=KEY, pcrs=24, mask=b"\xff\xff\xff"):
    values = [bytes([number]) * 32 for number in range(pcrs)]
    digest = hashlib.sha256(b"".join(values)).digest()
    message = b"\xffTCG\x80\x18" + struct.pack(">H4sH", 4, b"name", len(nonce)) + nonce + bytes(25)
    message += struct.pack(">IHB", 1, 0x0B, len(mask)) + mask + struct.pack(">H", 32) + digest
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return {"message": message.hex(), "signature": signature.hex(), "pcrs": [one.hex() for one in values]}


def azure(**more):
    leaf = snp().vcek.certificate.public_bytes(Encoding.DER)
    values = {"version": 2, "tpm_quote": tpm_quote(), "hcl_report": hcl(), "vcek": leaf} | more
    return shown({k: base64.urlsafe_b64encode(v).decode() if isinstance(v, bytes) else v for k, v in values.items()})


@pytest.mark.parametrize("algorithm", [1, 2, 3])
def test_an_hcl_report_is_a_report_bound_to_its_runtime_data(algorithm):
    # The guest's own data are the user data in them.
    result = judge("snp", hcl(algorithm=algorithm))
    assert result.accepted, result.verdict.refusal
    assert result.wrapping == ("Azure HCL report",)
    assert result.vtpm is not None
    assert result.to_dict()["vtpm"] == {
        "key": result.vtpm.key,
        "user_data": DATA.hex(),
        "settings": {"secure-boot": True},
        "quoted": False,
        "pcrs": [],
    }
    assert str(judge("snp", hcl(), nonce=bytes(64)).verdict.refusal.rule) == "report-data"


def test_a_quote_of_the_virtual_tpm_carries_the_nonce():
    above = [snp().ask.pem() + snp().ark.pem()]
    result = judge("snp", azure(), nonce=NONCE, certificates=above)
    assert result.accepted, result.verdict.refusal
    assert result.wrapping == ("JSON", "base64", "Azure HCL report")
    assert result.vtpm is not None
    assert len(result.vtpm.pcrs) == 24
    older: dict[str, Any] = {name: list(bytes.fromhex(text)) for name, text in tpm_quote().items() if name != "pcrs"}
    older["pcrs"] = [list(bytes.fromhex(one)) for one in tpm_quote()["pcrs"]]
    assert judge("snp", azure(quote=older, tpm_quote=None), nonce=NONCE, certificates=above).accepted
    assert str(judge("snp", azure(), certificates=above).verdict.refusal.rule) == "report-data"


def test_runtime_data_that_were_changed():
    other = runtime(rsa_keys()[1])
    for data in (hcl(report_data=DATA), hcl().replace(runtime(), other), hcl().replace(b"secure-boot", b"secure-bOOt")):
        assert str(judge("snp", data).verdict.refusal.rule) == "runtime-data"


@pytest.mark.parametrize(
    "changed",
    [
        tpm_quote(key=rsa_keys()[1]),
        tpm_quote() | {"message": tpm_quote()["message"].replace("ff544347", "ff544348")},
        tpm_quote() | {"signature": "00" * 256},
        tpm_quote() | {"pcrs": tpm_quote()["pcrs"][::-1]},
        tpm_quote() | {"pcrs": tpm_quote()["pcrs"][:-1]},
        tpm_quote(mask=b"\xff\xff\x7f"),
        tpm_quote(nonce=bytes(65)),
    ],
    ids=range(7),
)
def test_a_quote_that_was_changed_is_refused(changed):
    verdict = judge("snp", azure(tpm_quote=changed), nonce=NONCE).verdict
    assert verdict.refusal is not None
    assert str(verdict.refusal.rule) == "tpm-quote"


def test_a_tdx_report_of_azure_needs_its_quote():
    data = runtime()
    wrapped = hcl(data, kind=4)
    with pytest.raises(InvalidEvidence, match="only its own machine"):
        judge("tdx", wrapped)
    bound = tdx().quote(as_report_data(hashlib.sha256(data).digest()), BOOT)
    both = azure(hcl_report=wrapped, td_quote=bound)
    assert judge("tdx", both, nonce=NONCE).accepted
    other = azure(hcl_report=wrapped, td_quote=quote())
    assert str(judge("tdx", other, nonce=NONCE).verdict.refusal.rule) == "runtime-data"


@pytest.mark.parametrize(
    "data",
    [
        hcl()[:1235],
        hcl()[:1300],
        hcl(kind=3),
        hcl(b"{}"),
        hcl(b"[]"),
        hcl(b"\xff"),
        hcl(runtime(keys=[])),
        hcl(runtime(keys={})),
        hcl(runtime(keys=["HCLAkPub"])),
        hcl(runtime(keys=[{"kid": "HCLAkPub", "n": "!!", "e": "AQAB"}])),
        hcl(runtime(**{"user-data": "xyz"})),
        hcl(runtime(rsa.generate_private_key(65537, 1024))),
    ],
    ids=range(12),
)
def test_hcl_reports_that_cannot_be_read(data):
    with pytest.raises(InvalidEvidence):
        judge("snp", data)


def test_amds_own_certificates_are_known_and_the_emulators_are_not():
    alone = given(snp().vcek.pem())
    verdict = verify(report(), at=AT, certificates=alone, policy=snp_policy())
    assert verdict.refusal is not None
    assert str(verdict.refusal.rule) == "certificate-missing"
