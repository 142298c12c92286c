"""A scheme is one class and one row: tried with one that nobody has, against the simulated registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from tests.support.simulators.registry import Basic, Response, SimulatedRegistry

from haulout.errors import DeniedError
from haulout.http import Request
from haulout.oci import RegistryReference, parse_reference
from haulout.registry import ConnectionOptions, Credentials, Registries
from haulout.registry.auth import authorizer
from haulout.registry.auth.scheme import Scheme

if TYPE_CHECKING:
    from haulout.registry.auth.scheme import Flow


class Riddle(Scheme):
    """Asks the server for a riddle, and answers it with the password."""

    name: Final = "riddle"

    def authorize(self, scopes: frozenset[str]) -> Flow:
        answer = yield Request("GET", f"{self.party.origin()}/riddle?user={self._credentials.username}")
        return f"Riddle {answer.body.decode()}-{self._credentials.password}-{' '.join(scopes)}"

    def take_up(self, challenge, scopes, refused) -> bool:
        found = self.party.credentials()
        self._credentials = found or Credentials("")
        return found is not None and refused is None


def _tags(registry, credentials):
    reference = parse_reference(f"{registry.host}/m:1")
    assert isinstance(reference, RegistryReference)
    with Registries(ConnectionOptions(credentials=credentials, attempts=2), environment={}) as registries:
        return list(registries.repository(reference).tags())


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(authorizer, "SCHEMES", (Riddle, *authorizer.SCHEMES))

    def before(request):
        if request.path == "/riddle":
            return Response(503 if request.number == 1 else 200, {"Retry-After": "0"}, b"what-swims")
        if request.headers.get("authorization") == "Riddle what-swims-pw-repository:m:pull":
            return None
        return Response(401, {"WWW-Authenticate": 'Basic realm="b", Riddle'})

    with SimulatedRegistry(before=before) as server:
        server.tags["m", "1"] = "sha256:0"
        yield server


def test_a_new_scheme_talks_to_a_registry(registry):
    assert _tags(registry, Credentials("anna", "pw")) == ["1"]
    assert len(registry.seen("GET", "/riddle")) == 2


def test_what_a_new_scheme_refuses_is_not_repeated(registry):
    with pytest.raises(DeniedError):
        _tags(registry, None)
    with pytest.raises(DeniedError):
        _tags(registry, Credentials("anna", "wrong"))


def test_other_schemes_are_still_answered(registry):
    registry.before = None
    registry.auth = Basic("anna", "pw")
    assert _tags(registry, Credentials("anna", "pw")) == ["1"]
