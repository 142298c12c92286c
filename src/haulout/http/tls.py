"""Which certificates count for a host: the system's, ``--ca-file``, and certs.d as containers/image reads it.

``certs.d/<host[:port]>/`` holds ``*.crt`` (authorities) and pairs ``NAME.cert`` + ``NAME.key`` (client certificates);
see containers-certs.d(5).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.errors import UsageError
from haulout.local import home_of, storage_error

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class TlsProfile:
    """Certificates for one host."""

    verify: bool = True
    authorities: tuple[Path, ...] = ()
    client: tuple[Path, Path] | None = None
    """Certificate and key."""

    def context(self) -> ssl.SSLContext:
        """Build the OpenSSL context.

        Raises:
            UsageError: a certificate file cannot be read, or does not hold a certificate.
        """
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for file in self.authorities:
            try:
                context.load_verify_locations(cafile=file)
            except FileNotFoundError as exc:
                raise UsageError(f"no such file: {file}", hint="it is to hold certificate authorities") from exc
            except (OSError, ValueError) as exc:
                raise UsageError(f"{file} is not a readable PEM certificate", hint="correct or remove it") from exc
        if self.client is not None:
            try:
                context.load_cert_chain(*self.client)
            except (OSError, ValueError) as exc:
                raise UsageError(
                    f"{self.client[0]} and {self.client[1]} are not a readable certificate and key"
                ) from exc
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def profile_for(
    netloc: str, environment: Mapping[str, str], *, insecure: bool = False, ca_file: Path | None = None
) -> TlsProfile:
    """Find the certificates that count for ``host[:port]``.

    Raises:
        StorageError: a directory of certs.d is there but cannot be read.
        UsageError: a client certificate without its key, or a key without its certificate.
    """
    authorities = [ca_file] if ca_file is not None else []
    client: tuple[Path, Path] | None = None
    home = home_of(environment)
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    roots = (config / "containers/certs.d", Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
    for root in roots:
        directory = root / netloc
        try:
            names = sorted(path.name for path in directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise storage_error(directory, exc) from exc
        authorities += [directory / name for name in names if name.endswith(".crt")]
        for name in names:
            path = directory / name
            partner = {".cert": ".key", ".key": ".cert"}.get(path.suffix)
            if partner is None:
                continue
            if path.with_suffix(partner).name not in names:
                raise UsageError(f"{path} has no {partner} file beside it")
            if path.suffix == ".cert" and client is None:
                client = (path, path.with_suffix(".key"))
        # As containers/image does: the first directory that exists is the one that counts.
        break
    return TlsProfile(not insecure, tuple(authorities), client)
