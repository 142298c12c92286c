"""What Trustee, the key broker of Confidential Containers, has to be told of a workload. Pure.

Init-data is a TOML whose digest a guest carries where our binding's digest would be: in HOST_DATA, MRCONFIGID or the
personalization value. It holds the binding, so that the one proves the other. Source: Trustee, kbs/docs/initdata.md and
attestation-service (the digest is that of the whole text); rvps/README.md; tools/kbs-client.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.errors import UsageError
from haulout.oci import json
from haulout.workload import binding as bindings
from haulout.workload.krun import Tee
from haulout.workload.policy import require_evidence

if TYPE_CHECKING:
    from haulout.workload.binding import Binding

_ALGORITHMS: Final = {
    Tee.SNP: ("sha256", hashlib.sha256),
    Tee.TDX: ("sha384", hashlib.sha384),
    Tee.CCA: ("sha512", hashlib.sha512),
}
"""So that the digest has the length of the field that carries it."""
_PART: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class TrusteeFiles:
    """What Trustee is told.

    Attributes:
        resource: the path of the passphrase: repository, type and tag.
        init_data: the digest of the init-data, which the guest has to carry.
        files: name and content of each file.
    """

    resource: str
    init_data: bytes
    files: dict[str, bytes] = field(repr=False)


def trustee_files(
    binding: Binding, tee: Tee, measurement: bytes | None, *, resource: str | None = None, url: str = ""
) -> TrusteeFiles:
    """Return init-data, reference values, and the commands that upload them.

    Args:
        binding: of the workload.
        tee: where it runs.
        measurement: the launch measurement, where it is known.
        resource: the path of the passphrase; None: ``default/WORKLOAD/passphrase``.
        url: of the KBS, for the guest; "" leaves it out.

    Raises:
        UsageError: the TEE does not sign evidence that names a workload; the path or URL is none.
    """
    require_evidence(tee)
    path = resource or f"default/{re.sub(r'[^A-Za-z0-9_.-]', '-', binding.workload_id)}/passphrase"
    parts = path.split("/")
    if len(parts) != 3 or not all(_PART.fullmatch(part) and set(part) != {"."} for part in parts):
        raise UsageError(
            f"{path[:100]!r} is not the path of a resource", hint="REPOSITORY/TYPE/TAG, of letters, digits, _ . and -"
        )
    if not url.isprintable() or set(url) & set("'\"\\ "):
        raise UsageError("the URL of the KBS has characters that no URL has")
    name, algorithm = _ALGORITHMS[tee]
    text = _init_data(binding, name, url).encode()
    values = _reference_values(tee, measurement)
    message = {"version": "0.1.0", "type": "sample", "payload": base64.b64encode(json.dumps(values)).decode()}
    files = {
        "initdata.toml": text,
        "reference-values.json": json.dumps(values) + b"\n",
        "rvps-message.json": json.dumps(message) + b"\n",
        "upload.sh": _commands(path, values).encode(),
    }
    return TrusteeFiles(path, algorithm(text).digest(), files)


def _init_data(binding: Binding, algorithm: str, url: str) -> str:
    # Literal strings of TOML have no escapes, and no member of a binding holds three quotes.
    text = binding.to_bytes().decode()
    if "'''" in text:
        raise UsageError("the workload id has ''' in it, which the init-data cannot hold")
    lines = ['version = "0.1.0"', f'algorithm = "{algorithm}"', "", "[data]", f"\"{bindings.NAME}\" = '''{text}'''"]
    if url:
        lines += ["\"aa.toml\" = '''", "[token_configs.kbs]", f'url = "{url}"', "'''"]
        lines += ["\"cdh.toml\" = '''", "[kbc]", 'name = "cc_kbc"', f'url = "{url}"', "'''"]
    return "\n".join([*lines, ""])


def _reference_values(tee: Tee, measurement: bytes | None) -> dict[str, list[str]]:
    """Return the values under the names that Trustee's default policy asks for; SEV-SNP's are in base64."""
    if measurement is None:
        return {}
    name, text = {
        Tee.SNP: ("snp_launch_measurement", base64.b64encode(measurement).decode()),
        Tee.TDX: ("mr_td", measurement.hex()),
    }.get(tee, ("cca_realm_initial_measurement", measurement.hex()))
    return {name: [text]}


def _commands(path: str, values: dict[str, list[str]]) -> str:
    client = 'kbs-client --url "$KBS_URL" config --auth-private-key "$ADMIN_KEY"'
    lines = [
        "#!/bin/sh",
        "# Uploads the passphrase of a workload to Trustee, and its reference values.",
        "# KBS_URL: of the KBS; ADMIN_KEY: its administrator's private key; PASSPHRASE_FILE: the disk's passphrase.",
        "set -eu",
        f'{client} set-resource --path {shlex.quote(path)} --resource-file "$PASSPHRASE_FILE"',
    ]
    lines += [
        f"{client} set-sample-reference-value {shlex.quote(name)} {shlex.quote(one)}"
        for name, listed in values.items()
        for one in listed
    ]
    return "\n".join([*lines, ""])
