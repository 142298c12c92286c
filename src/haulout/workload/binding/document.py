"""The binding: one document that says which workload a disk is, and which three values of evidence name it. Pure.

Without it the evidence of a libkrun guest is the same for every workload: the owner of any genuine processor could boot
another disk and ask for the key of this one. docs/formats/binding.md has the document, docs/adr/0021 the reasons.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from haulout.errors import InvalidManifest, InvalidWorkload
from haulout.oci import Digest, json

TYPE: Final = "io.github.haulout.binding"
VERSION: Final = 1
NAME: Final = "haulout-binding.json"
"""Of the file beside the disk."""
MAX_BYTES: Final = 16384

_MEMBERS: Final = frozenset({"broker_key", "luks_header", "type", "verity", "version", "workload_id"})
_VERITY: Final = frozenset({"hash_offset", "root", "salt"})


@dataclass(frozen=True, slots=True)
class Binding:
    """What a workload is, as far as its key depends on it."""

    json_members: ClassVar = (
        "digest",
        "workload_id",
        "broker_key=encoded_key",
        "luks_header",
        "verity",
        "host_data",
        "mrconfigid",
        "personalization",
    )
    """docs/json.md."""

    workload_id: str
    luks_header: Digest
    """Of all bytes of the disk before the payload."""
    root: bytes
    """Root hash of dm-verity (SHA-256, blocks of 4096 bytes) over the plain file system."""
    salt: bytes
    hash_offset: int
    """Where dm-verity's superblock begins in the decrypted payload, in bytes: the size of the file system."""
    broker_key: bytes | None = None
    """SubjectPublicKeyInfo (DER) of the broker that the guest may talk to; None: the guest learns it otherwise."""

    def to_bytes(self) -> bytes:
        """Return the canonical bytes (RFC 8785): sorted members, no spaces; these very bytes are hashed."""
        return json.dumps(
            {
                "broker_key": self.encoded_key,
                "luks_header": str(self.luks_header),
                "type": TYPE,
                "verity": dict(sorted(self.verity.items())),
                "version": VERSION,
                "workload_id": self.workload_id,
            }
        )

    @property
    def encoded_key(self) -> str | None:
        """The broker's key in base64."""
        return None if self.broker_key is None else base64.b64encode(self.broker_key).decode()

    @property
    def verity(self) -> dict[str, str | int]:
        """The parameters of dm-verity as they are written."""
        return {"root": self.root.hex(), "salt": self.salt.hex(), "hash_offset": self.hash_offset}

    @property
    def digest(self) -> Digest:
        """SHA-256 of the canonical bytes."""
        return Digest.of(self.to_bytes())

    @property
    def host_data(self) -> bytes:
        """HOST_DATA of SEV-SNP: SHA-256, 32 bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    @property
    def mrconfigid(self) -> bytes:
        """MRCONFIGID of TDX: SHA-384, 48 bytes."""
        return hashlib.sha384(self.to_bytes()).digest()

    @property
    def personalization(self) -> bytes:
        """The realm personalization value of Arm CCA: SHA-512, 64 bytes."""
        return hashlib.sha512(self.to_bytes()).digest()

    @classmethod
    def parse(cls, data: bytes, what: str = "the binding") -> Self:
        """Parse the canonical bytes.

        Raises:
            InvalidWorkload: they are not canonical or of a later version, or a member is missing, unknown or invalid.
        """
        if len(data) > MAX_BYTES:
            raise _refusal(what, f"it has {len(data)} bytes; at most {MAX_BYTES} are accepted")
        try:
            values = json.loads(data, what)
        except InvalidManifest as exc:
            raise _refusal(what, exc.reason) from exc
        if values.get("type") != TYPE:
            raise _refusal(what, f"its type is {str(values.get('type'))[:60]!r}, not {TYPE!r}")
        version = values.get("version")
        if version != VERSION or isinstance(version, bool):
            raise _refusal(
                what,
                f"it has version {str(version)[:20]}; haulout reads {VERSION}",
                hint="upgrade haulout",
            )
        found = cls._read(values, what)
        if found.to_bytes() != data:
            raise _refusal(what, "it is not in its canonical form")
        return found

    @classmethod
    def _read(cls, values: dict[str, Any], what: str) -> Self:
        verity, key, identity = values.get("verity"), values.get("broker_key"), values.get("workload_id")
        if set(values) != _MEMBERS or not isinstance(verity, dict) or set(verity) != _VERITY:
            raise _refusal(what, "its members are not those of version 1")
        offset = verity["hash_offset"]
        if not isinstance(identity, str) or not _is_count(offset):
            raise _refusal(what, "workload_id or verity.hash_offset has the wrong type")
        try:
            root, salt = bytes.fromhex(verity["root"]), bytes.fromhex(verity["salt"])
            found = None if key is None else base64.b64decode(key, validate=True)
            header = Digest.parse(values["luks_header"])
        except (ValueError, TypeError) as exc:
            raise _refusal(what, "a digest or key is not encoded correctly") from exc
        if len(root) != hashlib.sha256().digest_size or len(salt) > 256:
            raise _refusal(what, "the root hash or the salt has the wrong size")
        return cls(identity, header, root, salt, offset, found)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53


def _refusal(what: str, reason: str, hint: str | None = None) -> InvalidWorkload:
    return InvalidWorkload("binding", f"{what} cannot be read: {reason}", hint=hint)
