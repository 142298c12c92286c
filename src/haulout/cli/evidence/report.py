"""What ``haulout evidence verify`` shows: the verdict, and what the evidence says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haulout.tee import GIVEN_KEY, SnpClaims, SnpReport, TdxClaims, TdxQuote, attributes, lifecycle, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from haulout.tee import CcaToken, Claims, Statement, Verdict

_NAMES = {"snp": "SEV-SNP report", "tdx": "TDX quote", "cca": "Arm CCA token"}


def document(path: str, verdict: Verdict) -> dict[str, Any]:
    """Return the JSON of a verdict."""
    refusal = verdict.refusal
    return {
        "path": path,
        "kind": str(verdict.kind),
        "verdict": "accepted" if verdict.accepted else "refused",
        "rule": None if refusal is None else str(refusal.rule),
        "reason": None if refusal is None else refusal.reason,
        "hint": None if refusal is None else refusal.hint,
        "genuine": verdict.claims is not None,
        "policy": verdict.policy,
        "at": stamp(verdict.at),
        "open": list(verdict.open),
        "beware": None
        if verdict.beware is None
        else {"rule": str(verdict.beware.rule), "reason": verdict.beware.reason},
        "origin": None if verdict.claims is None else _origin(verdict.claims),
        "claims": _said(verdict.statement),
    }


def lines(path: str, verdict: Verdict) -> Iterator[str]:
    """Write a verdict for people."""
    refusal = verdict.refusal
    what = _NAMES[verdict.kind]
    if refusal is None:
        against = "genuine; no policy was given" if verdict.policy is None else f"by the policy {verdict.policy}"
        yield f"{path}: {what}: accepted, {against}"
    else:
        yield f"{path}: {what}: REFUSED: {refusal.reason} [{refusal.rule}]"
        if refusal.hint:
            yield f"  hint: {refusal.hint}"
    if verdict.beware is not None:
        yield f"  beware: a strict policy refuses it: {verdict.beware.reason} [{verdict.beware.rule}]"
    if verdict.claims is not None and verdict.claims.anchor.name == GIVEN_KEY:
        yield "  beware: nobody but you vouches for the key given: it must not come with the evidence"
    if verdict.open:
        yield f"  left open by the policy: {', '.join(verdict.open)}"
    if verdict.claims is None:
        yield "  it says, and nobody vouches for it:"
    else:
        yield from _spelled(_origin(verdict.claims))
    yield from _spelled(_brief(_said(verdict.statement)))


def _spelled(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None and value not in ([], {}, ""):
            yield f"  {name.replace('_', ' '):<20} {_plain(value)}"


def _brief(claims: dict[str, Any]) -> dict[str, Any]:
    """Leave of the components of firmware, of which there are many, only what each is."""
    components = claims.get("components", [])
    return claims | {"components": [f"{one['type']} {one['measurement'][:16]}…" for one in components]}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = (f"{name.replace('_', ' ')} {_plain(part)}" for name, part in value.items() if part is not None)
        return ", ".join(parts)
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)


def _origin(claims: Claims) -> dict[str, Any]:
    found = {
        "root": claims.anchor.name,
        "root_fingerprint": claims.anchor.fingerprint,
        "test_root": claims.anchor.test,
    }
    match claims:
        case SnpClaims():
            return found | {
                "revocation_checked": claims.revocation_checked,
                "product": claims.endorsement.product_name,
                "signer": str(claims.endorsement.signer),
                "csp_id": claims.endorsement.csp_id,
                "reported_tcb": claims.reported_tcb.parts(),
                "committed_tcb": claims.committed_tcb.parts(),
                "current_tcb": claims.current_tcb.parts(),
                "launch_tcb": claims.launch_tcb.parts(),
            }
        case TdxClaims():
            judged = claims.tcb
            return found | {
                "revocation_checked": judged is not None,
                "fmspc": claims.platform.fmspc.hex(),
                "pce_svn": claims.platform.pce_svn,
                "components": list(claims.platform.components),
                "tcb_status": None if judged is None else str(judged.status),
                "tcb_date": None if judged is None else judged.date,
                "advisories": [] if judged is None else list(judged.advisories),
                "evaluation_number": None if judged is None else judged.evaluation_number,
            }
        case _:
            return found | {"platform_key": claims.platform_key}


def _said(statement: Statement) -> dict[str, Any]:
    match statement:
        case SnpReport():
            return _snp(statement)
        case TdxQuote():
            return _tdx(statement)
        case _:
            return _cca(statement)


def _snp(report: SnpReport) -> dict[str, Any]:
    policy, cpuid = report.policy, report.cpuid
    return {
        "version": report.version,
        "guest_svn": report.guest_svn,
        "vmpl": report.vmpl,
        "policy": {
            "bits": f"{policy.bits:#x}",
            "debug": policy.debug,
            "migration_agent": policy.migration_agent,
            "smt": policy.smt,
            "single_socket": policy.single_socket,
        },
        "measurement": report.measurement.hex(),
        "report_data": report.report_data.hex(),
        "host_data": report.host_data.hex(),
        "chip_id": report.chip_id.hex(),
        "cpuid": None if cpuid is None else {"family": cpuid.family, "model": cpuid.model, "stepping": cpuid.stepping},
        "platform": list(report.platform()),
        "firmware": str(report.current_firmware),
        "family_id": report.family_id.hex(),
        "image_id": report.image_id.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "author_key_digest": report.author_key_digest.hex() if report.author_key else None,
        "report_id": report.report_id.hex(),
        "launch_mitigations": report.launch_mitigations,
        "current_mitigations": report.current_mitigations,
    }


def _tdx(quote: TdxQuote) -> dict[str, Any]:
    body = quote.body
    return {
        "version": quote.version,
        "body": body.version,
        "tee_tcb_svn": body.tee_tcb_svn.hex(),
        "td_attributes": list(attributes(body.td_attributes)),
        "td_attributes_bits": f"{body.td_attributes:#x}",
        "xfam": f"{body.xfam:#x}",
        "mrseam": body.mrseam.hex(),
        "mrsignerseam": body.mrsignerseam.hex(),
        "mrtd": body.mrtd.hex(),
        "rtmr": [register.hex() for register in body.rtmr],
        "report_data": body.report_data.hex(),
        "mrconfigid": body.mrconfigid.hex(),
        "mrowner": body.mrowner.hex(),
        "mrownerconfig": body.mrownerconfig.hex(),
        "mrservicetd": None if body.mrservicetd is None else body.mrservicetd.hex(),
    }


def _cca(token: CcaToken) -> dict[str, Any]:
    platform, realm = token.platform, token.realm
    return {
        "profile": platform.profile,
        "realm_profile": realm.profile,
        "lifecycle": lifecycle(platform.lifecycle),
        "instance": platform.instance.hex(),
        "implementation": platform.implementation.hex(),
        "configuration": platform.configuration.hex(),
        "components": [
            {"type": one.type, "measurement": one.measurement.hex(), "signer": one.signer.hex(), "version": one.version}
            for one in platform.components
        ],
        "rim": realm.rim.hex(),
        "rem": [register.hex() for register in realm.rem],
        "hash": realm.hash,
        "report_data": realm.challenge.hex(),
        "personalization": realm.personalization.hex(),
    }
