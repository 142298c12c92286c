"""The OpenAPI document of a broker, from the table of its operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from haulout.broker.protocol import COOKIE, MEDIA_TYPE, STATUS, Trouble

if TYPE_CHECKING:
    from haulout.broker.app.web import Endpoint

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}
_ALWAYS = (Trouble.INVALID_REQUEST, Trouble.TOO_LARGE, Trouble.TOO_SLOW, Trouble.TOO_MANY, Trouble.UNAVAILABLE)


def describe(endpoints: tuple[Endpoint, ...], url: str, version: str) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1)."""
    paths: dict[str, Any] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Haulout key broker", "version": version, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {
                "owner": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _operation(one: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", one.path)
    ]
    parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in one.query]
    good: dict[str, Any] = {"description": "Done"}
    if one.answer is not None:
        good["content"] = {one.answer: {}}
    troubles = {*_ALWAYS, *one.troubles, *((Trouble.NOT_ALLOWED,) if one.owner else ())}
    responses = {str(one.status): good}
    for status in sorted({STATUS[trouble] for trouble in troubles}):
        names = sorted(trouble for trouble in troubles if STATUS[trouble] == status)
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses[str(status)] = {"description": ", ".join(names), "content": content}
    found: dict[str, Any] = {"summary": one.summary, "parameters": parameters, "responses": responses}
    if one.body is not None:
        found["requestBody"] = {"required": True, "content": {one.body: {"schema": dict(one.schema or {})}}}
    if one.owner:
        found["security"] = [{"owner": []}, {"certificate": []}]
    return found
