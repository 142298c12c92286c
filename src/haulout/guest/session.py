"""From evidence to the passphrase: one session with the key broker, over a connection that ends at the right key.

Protocol: :mod:`haulout.broker.protocol`. Whatever passes by itself is tried again, with new evidence, until the time is
up; a broker that refuses is not asked again.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Final

from haulout.broker.protocol import (
    COOKIE,
    Attestation,
    Challenge,
    Evidence,
    InvalidMessage,
    PrivateKey,
    Problem,
    Request,
    ResourcePath,
    report_data,
)
from haulout.errors import HauloutError, UnreachableError
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.http import PinnedServer, WrongServerKey
from haulout.tee.snp import parse as snp
from haulout.tee.tdx import parse as tdx

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.guest.devices import Answer, Device
    from haulout.guest.launch import Launch
    from haulout.http import PinnedAnswer
    from haulout.workload.binding import Binding

SECONDS: Final = 180.0
"""How long a broker that does not answer, or is too busy, is asked again."""
_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 15.0
_TYPE: Final = {"Content-Type": "application/json"}


class _Again(Exception):  # noqa: N818 - it is not a failure yet
    """An attempt that failed, but may not fail a moment later."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


def require_own_binding(device: Device, binding: Binding) -> None:
    """Require that the processor vouches for this binding: the host may hand over any.

    Raises:
        GuestRefusal: it vouches for another, or gives no evidence that can be read.
    """
    answer = device.evidence(hashlib.sha512(binding.to_bytes()).digest())
    found, expected = _own_value(answer, binding)
    if not hmac.compare_digest(found, expected):
        raise GuestRefusal(
            Rule.BINDING_VALUE,
            f"the processor vouches for the binding {found.hex()[:16]}…, but the host gave {expected.hex()[:16]}…",
            hint="the machine was not started for this workload",
        )


def _own_value(answer: Answer, binding: Binding) -> tuple[bytes, bytes]:
    """Return what evidence says of the binding, and what it has to say."""
    try:
        if answer.tee == "snp":
            return snp.parse(answer.evidence).host_data, binding.host_data
        if answer.tee == "tdx":
            return tdx.parse(answer.evidence).body.mrconfigid, binding.mrconfigid
    except HauloutError as exc:
        raise GuestRefusal(Rule.DEVICE, str(exc)) from exc
    raise GuestRefusal(Rule.DEVICE, f"this guest cannot read the evidence of {answer.tee[:20]!r}")


def fetch_passphrase(launch: Launch, device: Device, say: Callable[[str], None], *, seconds: float = SECONDS) -> bytes:
    """Attest, and return the passphrase of the disk.

    Args:
        launch: where the broker is, which key it has, what is asked for.
        device: signs the evidence.
        say: told what is done, and what is tried again.
        seconds: after which nothing is tried again.

    Raises:
        GuestRefusal: there is no broker, it holds another key, or it refuses.
    """
    if launch.binding.broker_key is None or not launch.broker_url:
        missing = "URL" if launch.binding.broker_key is not None else "key in its binding"
        raise GuestRefusal(
            Rule.BROKER_URL,
            f"this workload has no broker {missing}",
            hint="build it with: haulout cw build --broker-key FILE --attestation-url URL",
        )
    deadline, wait = time.monotonic() + seconds, _WAIT
    while True:
        try:
            server = PinnedServer(launch.broker_url, launch.binding.broker_key)
            return _Session(server, launch, device).run(say)
        except WrongServerKey as exc:
            raise GuestRefusal(Rule.BROKER_KEY, str(exc), hint=exc.hint) from exc
        except (_Again, UnreachableError) as exc:
            pause = max(wait, exc.wait if isinstance(exc, _Again) else 0)
            if time.monotonic() + pause > deadline:
                raise GuestRefusal(Rule.BROKER_URL, f"gave up after {seconds:.0f} seconds: {exc}") from exc
            say(f"trying again in {pause:.0f} s: {exc}")
            time.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)
        except InvalidMessage as exc:
            raise GuestRefusal(Rule.BROKER_REFUSED, f"the broker does not speak the protocol: {exc}") from exc
        except HauloutError as exc:
            if isinstance(exc, GuestRefusal):
                raise
            raise GuestRefusal(Rule.BROKER_URL, str(exc)) from exc


class _Session:
    """One attempt: request, challenge, evidence, resource."""

    def __init__(self, server: PinnedServer, launch: Launch, device: Device) -> None:
        self._server = server
        self._launch = launch
        self._device = device
        self._cookie: dict[str, str] = {}

    def run(self, say: Callable[[str], None]) -> bytes:
        request = Request(self._device.tee, ("sha384", "sha512", "sha256"), self._launch.binding.workload_id)
        answer = self._ask("POST", "/kbs/v0/auth", request.to_bytes())
        name, _, value = answer.headers.get("set-cookie", "").partition(";")[0].partition("=")
        if name != COOKIE or not value:
            raise InvalidMessage("Challenge", "", f"the answer sets no cookie {COOKIE}")
        self._cookie = {"Cookie": f"{COOKIE}={value}"}
        challenge = Challenge.parse(answer.body)
        # A key for this session alone: whoever records the session cannot read the answer later.
        key = PrivateKey.generate()
        signed = self._device.evidence(report_data(challenge.nonce, key.public, challenge.hash))
        evidence = Evidence(signed.evidence, signed.certificates)
        say(f"sending evidence of {self._device.name}")
        attestation = Attestation.of(challenge, signed.tee, key.public, evidence)
        self._ask("POST", "/kbs/v0/attest", attestation.to_bytes())
        path = ResourcePath.parse(self._launch.resource_path)
        return key.decrypt(self._ask("GET", path.url_path).body)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> PinnedAnswer:
        answer = self._server.ask(method, path, body, {**self._cookie, **(_TYPE if body is not None else {})})
        if answer.status == 200:
            return answer
        reason = _reason(answer)
        # An instance that was ended, a proxy without one behind it, a limit; or a session that an instance has lost.
        lost = answer.status == 401 and method == "GET"
        if answer.status in {429, 500, 502, 503, 504} or lost:
            raise _Again(reason, _retry_after(answer))
        raise GuestRefusal(Rule.BROKER_REFUSED, f"the broker refuses: {reason}")


def _reason(answer: PinnedAnswer) -> str:
    try:
        problem = Problem.parse(answer.body, answer.status)
        shown = f"{problem.trouble}: {problem.detail}" + (f" (request {problem.instance})" if problem.instance else "")
    except InvalidMessage:
        shown = "no details"
    return f"{answer.status}, {shown}"


def _retry_after(answer: PinnedAnswer) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), 60.0) if text.isdigit() else 0.0
