"""What owners ask for: their workloads, policies, resources and the rows about them. Others' are not there for them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from haulout.broker.app.guests import RESOURCE, bearer_of, path_of
from haulout.broker.app.web import JSON, OCTETS, Endpoint, answer, body_of, client_of, off_loop
from haulout.broker.management import Management
from haulout.broker.protocol import Rejected, Trouble
from haulout.broker.sessions import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request as HttpRequest

    from haulout.broker.app.broker import Broker

ROOT: Final = "/v1/workloads"
ONE: Final = ROOT + "/{workload}"
_LARGEST_POLICY: Final = 1 << 20
_LARGEST_LIST: Final = 4 << 20
_LARGEST_RESOURCE: Final = 1 << 20
_MOST_ROWS: Final = 1000
TOML: Final = "application/toml"
LINES: Final = "application/x-ndjson"


class Owners:
    """The operations, for one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the table of operations."""
        bad, none, taken = Trouble.INVALID_REQUEST, Trouble.NOT_FOUND, Trouble.CONFLICT
        resource = ONE + "/resources/{repository}/{type}/{tag}"

        def row(method: str, path: str, handler: Any, summary: str, *troubles: Trouble, **more: Any) -> Endpoint:
            return Endpoint(method, path, handler, summary, owner=True, troubles=troubles, **more)

        return (
            row("GET", ROOT, self.workloads, "List the workloads"),
            row("GET", ONE, self.workload, "Show a workload", none),
            row("PUT", ONE, self.add, "Register a workload", bad, taken, status=201),
            row("DELETE", ONE, self.remove, "Remove a workload and its resources", none, answer=None, status=204),
            row(
                "GET",
                ONE + "/policy",
                self.policy,
                "Get the policy in force",
                bad,
                none,
                answer=TOML,
                query=("version",),
            ),
            row("PUT", ONE + "/policy", self.set_policy, "Put a policy into force", bad, none, body=TOML),
            row("GET", ONE + "/policies", self.policies, "List the versions of the policy", none),
            row("PUT", ONE + "/list", self.set_list, "Follow a newer signed list of images", bad, none, body=JSON),
            row("GET", ONE + "/resources", self.resources, "List the names of the resources", none),
            row("PUT", resource, self.put, "Keep a resource", bad, none, taken, body=OCTETS, answer=None, status=204),
            row("DELETE", resource, self.remove_resource, "Remove a resource", none, answer=None, status=204),
            row("GET", "/v1/log", self.log, "Get rows of the audit log", bad, answer=LINES, query=("after", "since")),
            row(
                "POST",
                RESOURCE,
                self.upload,
                "Keep a resource, as Trustee's clients do",
                bad,
                none,
                taken,
                body=OCTETS,
                answer=None,
                query=("workload",),
            ),
            row(
                "POST",
                "/kbs/v0/attestation-policy",
                self.other_policy,
                "Not kept: see /v1",
                bad,
                body=JSON,
                answer=None,
            ),
            row("POST", "/kbs/v0/resource-policy", self.other_policy, "Not kept: see /v1", bad, body=JSON, answer=None),
        )

    async def workloads(self, http: HttpRequest) -> Response:
        """List."""
        return answer([one.to_dict() for one in await self._do(http, Management.workloads)])

    async def workload(self, http: HttpRequest) -> Response:
        """Show."""
        return answer((await self._do(http, Management.workload, http.path_params["workload"])).to_dict())

    async def add(self, http: HttpRequest) -> Response:
        """Register."""
        return answer((await self._do(http, Management.add, http.path_params["workload"])).to_dict(), 201)

    async def remove(self, http: HttpRequest) -> Response:
        """Remove."""
        await self._do(http, Management.remove, http.path_params["workload"])
        return Response(status_code=204)

    async def policy(self, http: HttpRequest) -> Response:
        """Get a policy."""
        version = _number(http, "version")
        found = await self._do(http, Management.policy, http.path_params["workload"], version)
        return Response(found.document, media_type=TOML, headers={"etag": f'"{found.digest}"'})

    async def set_policy(self, http: HttpRequest) -> Response:
        """Put a policy into force."""
        management = await self._management(http)
        body = await body_of(http, _LARGEST_POLICY)
        return answer((await off_loop(management.set_policy, http.path_params["workload"], body)).to_dict())

    async def policies(self, http: HttpRequest) -> Response:
        """List versions."""
        return answer(
            [one.to_dict() for one in await self._do(http, Management.policies, http.path_params["workload"])]
        )

    async def set_list(self, http: HttpRequest) -> Response:
        """Follow a list."""
        management = await self._management(http)
        body = await body_of(http, _LARGEST_LIST)
        return answer((await off_loop(management.follow, http.path_params["workload"], body)).to_dict())

    async def resources(self, http: HttpRequest) -> Response:
        """List resources."""
        found = await self._do(http, Management.workload, http.path_params["workload"])
        return answer(list(found.resources))

    async def put(self, http: HttpRequest) -> Response:
        """Keep a resource."""
        management, path = await self._management(http), path_of(http)
        body = await body_of(http, _LARGEST_RESOURCE)
        await off_loop(management.put, http.path_params["workload"], path, body)
        return Response(status_code=204)

    async def remove_resource(self, http: HttpRequest) -> Response:
        """Remove a resource."""
        await self._do(http, Management.remove_resource, http.path_params["workload"], path_of(http))
        return Response(status_code=204)

    async def log(self, http: HttpRequest) -> Response:
        """Get rows, at most a thousand: ask again after the last."""
        after, since = _number(http, "after") or 0, http.query_params.get("since")
        rows = await self._do(http, Management.rows, after, since, _MOST_ROWS)
        return Response("".join(f"{row.to_line()}\n" for row in rows), media_type=LINES)

    async def upload(self, http: HttpRequest) -> Response:
        """Keep a resource of the workload that the query names, or, without one, that its repository does."""
        management, path = await self._management(http), path_of(http)
        body = await body_of(http, _LARGEST_RESOURCE)
        await off_loop(management.put, http.query_params.get("workload", path.repository), path, body)
        return Response(status_code=200)

    async def other_policy(self, http: HttpRequest) -> Response:
        """Refuse: policies are those of workloads, and not in Rego."""
        await self._management(http)
        raise Rejected(
            Trouble.INVALID_REQUEST, "this broker has a policy for each workload: PUT /v1/workloads/ID/policy"
        )

    async def _do(self, http: HttpRequest, action: Callable[..., Any], *arguments: Any) -> Any:
        return await off_loop(action, await self._management(http), *arguments)

    async def _management(self, http: HttpRequest) -> Management:
        """Return what the owner who asks may do.

        Raises:
            Rejected: nobody known does.
        """
        client = client_of(http, forwarded=self._broker.settings.forwarded)
        owner = await off_loop(self._owner, bearer_of(http), getattr(http.state, "certificate", None))
        return Management(self._broker.store, owner, client, self._broker.now)

    def _owner(self, token: str | None, certificate: bytes | None) -> str:
        with self._broker.store.read() as unit:
            for digest in (token and digest_of(token), certificate and hashlib.sha256(certificate).hexdigest()):
                owner = unit.owners.of_credential(digest) if digest else None
                if owner is not None:
                    return owner
        raise Rejected(Trouble.NOT_ALLOWED, "an owner's token or client certificate is needed")


def _number(http: HttpRequest, name: str) -> int | None:
    text = http.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Rejected(Trouble.INVALID_REQUEST, f"{name} is not a number")
    return int(text)
