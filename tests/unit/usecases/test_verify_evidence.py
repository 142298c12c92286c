"""Evidence in files and in memory, as the library verifies it."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import AT, BOOT, DATA, cca, tdx

from haulout import verify_evidence
from haulout.emulator import emulate, make_bundle
from haulout.errors import ContentError, InvalidEvidence, InvalidPolicy, NotFoundError, StorageError, UsageError
from haulout.tee import parse_policy


@pytest.fixture
def lab(tmp_path):
    for name, data in make_bundle(cca(), BOOT, AT, report_data=DATA).files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_files_by_path_by_text_and_by_content(lab):
    evidence, certificates, policy = (lab / name for name in ("evidence.bin", "certificates.pem", "policy.toml"))
    for form in (Path, str, Path.read_bytes):
        found = verify_evidence(
            form(evidence), policy=form(policy), certificates=[form(certificates)], nonce=DATA, at=AT
        )
        assert found.accepted, found.verdict.refusal
        path = None if form is Path.read_bytes else str(evidence)
        assert found.path == found.to_dict()["path"] == path
    parsed = parse_policy(policy.read_bytes())
    assert verify_evidence(evidence, policy=parsed, certificates=[certificates], at=AT).accepted


def test_a_refusal_is_an_answer(lab):
    found = verify_evidence(lab / "evidence.bin", certificates=[lab / "certificates.pem"], at=AT)
    assert not found.accepted
    values = found.to_dict()
    assert (values["verdict"], values["rule"], values["origin"]) == ("refused", "test-root", None)


def test_a_short_nonce_is_padded_as_report_data(lab):
    made = make_bundle(cca(), BOOT, AT, report_data=b"nonce".ljust(64, b"\0"))
    more: dict[str, Any] = {
        "certificates": [made.files["certificates.pem"]],
        "policy": made.files["policy.toml"],
        "at": AT,
    }
    assert verify_evidence(made.files["evidence.bin"], nonce=b"nonce", **more).accepted
    assert not verify_evidence(made.files["evidence.bin"], nonce=b"nonc", **more).accepted
    for wrong in (b"", bytes(65)):
        with pytest.raises(ValueError, match="report data"):
            verify_evidence(made.files["evidence.bin"], nonce=wrong, **more)
    with pytest.raises(ValueError, match="time zone"):
        verify_evidence(made.files["evidence.bin"], at=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("role", ["evidence", "policy", "certificates", "collateral"])
def test_what_is_not_a_regular_file(role, lab):
    os.mkfifo(lab / "pipe")

    def verify(file):
        files = {"evidence": lab / "evidence.bin", "certificates": [lab / "certificates.pem"], role: file}
        if role in {"certificates", "collateral"}:
            files[role] = [file]
        return verify_evidence(files.pop("evidence"), at=AT, **files)

    for name in ("pipe", "."):
        with pytest.raises(StorageError, match=r"not a regular file|is a directory"):
            verify(lab / name)
    with pytest.raises(NotFoundError, match="no such file"):
        verify(lab / "absent")
    with (lab / "large").open("wb") as file:
        file.truncate((4 << 20) + 1)
    with pytest.raises(InvalidEvidence, match="larger than"):
        verify(lab / "large")


def test_content_that_is_wrong_is_named_by_its_role(lab):
    evidence = (lab / "evidence.bin").read_bytes()
    with pytest.raises(InvalidPolicy, match=r"^policy is not"):
        verify_evidence(evidence, policy=b"x", at=AT)
    with pytest.raises(InvalidEvidence, match=r"^certificates cannot"):
        verify_evidence(evidence, certificates=[b"x"], at=AT)
    with pytest.raises(InvalidEvidence, match=r"^collateral cannot"):
        verify_evidence(tdx().quote(DATA, BOOT), collateral=[b"x"], at=AT)


def test_emulated_evidence_is_verified(tmp_path):
    (tmp_path / "kernel").write_bytes(b"kernel" * 999)
    made = emulate("tdx", tmp_path / "lab", boot=[tmp_path / "kernel"], report_data=DATA, workload=b"\1" * 48, at=AT)
    values = made.to_dict()
    assert list(values) == ["kind", "root_fingerprint", "measurement", "files"]
    assert values["measurement"] == made.measurement.hex()
    files = made.files
    assert set(files) == {"evidence", "collateral", "policy"}
    assert verify_evidence(
        files["evidence"], collateral=[files["collateral"]], policy=files["policy"], nonce=DATA, at=AT
    ).accepted
    again = emulate("tdx", str(tmp_path / "lab"), at=AT)
    assert again.root_fingerprint == made.root_fingerprint
    assert again.measurement != made.measurement


def test_what_cannot_be_emulated(tmp_path):
    with pytest.raises(UsageError, match="unknown TEE 'sgx'") as caught:
        emulate("sgx", tmp_path)
    assert caught.value.hint == "known: snp, tdx, cca"
    with pytest.raises(UsageError, match="64 bytes"):
        emulate("cca", tmp_path, workload=bytes(32))
    with pytest.raises(NotFoundError):
        emulate("cca", tmp_path, boot=[tmp_path / "absent"])
    with (tmp_path / "large").open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(ContentError, match="larger"):
        emulate("cca", tmp_path, boot=[tmp_path / "large"])
    os.mkfifo(tmp_path / "emulator.json")
    with pytest.raises(StorageError, match="regular file"):
        emulate("cca", tmp_path)
