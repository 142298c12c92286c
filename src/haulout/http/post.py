"""Posts a JSON document to a service that is no registry, with the same certificates, proxies and deadlines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from haulout.errors import DeniedError, RegistryError
from haulout.http.failures import FOREIGN, translate
from haulout.http.meter import Meter
from haulout.http.options import HttpOptions
from haulout.http.origin import Origin
from haulout.http.request import Request
from haulout.http.tls import profile_for
from haulout.http.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

_DENIED: Final = frozenset({401, 403})


def post_json(
    url: str,
    document: bytes,
    what: str,
    *,
    options: HttpOptions | None = None,
    environment: Mapping[str, str] | None = None,
    accepted: frozenset[int] = frozenset({200, 201, 202, 204}),
) -> int:
    """Send ``document`` once and return the status of the answer; redirects are not followed.

    Args:
        url: absolute, http or https.
        document: JSON; it may hold secrets, and is never shown.
        what: what is asked, to begin an error with.
        options: authorities trusted besides the system's, and deadlines; certificates are always verified.
        environment: in place of ``os.environ``.
        accepted: statuses that are success.

    Raises:
        UnreachableError: no connection, no trusted certificate, no answer.
        DeniedError: the service does not let us.
        RegistryError: it answers with any other status.
    """
    options = options or HttpOptions()
    values = dict(os.environ if environment is None else environment)
    origin = Origin.of(url)
    request = Request("POST", url, {"Content-Type": "application/json"}, lambda: document)
    transport = Transport(options, values)
    try:
        profile = profile_for(origin.netloc, values, ca_file=options.ca_file)
        try:
            reply = transport.send(request, profile, Meter())
        except FOREIGN as exc:
            raise translate(exc, origin.netloc, what) from exc
        status = reply.status
        reply.close()
    finally:
        transport.close()
    if status in accepted:
        return status
    if status in _DENIED:
        raise DeniedError(f"{what}: {origin.netloc} refuses it with status {status}")
    raise RegistryError(f"{what}: {origin.netloc} answers with status {status}", status=status)
