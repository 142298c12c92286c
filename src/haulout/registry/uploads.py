"""Stores blobs (distribution-spec, "Pushing blobs"): mount, one PUT, or pieces where a registry wants them."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from haulout.errors import (
    DeniedError,
    DigestMismatch,
    HauloutError,
    NotFoundError,
    RegistryError,
    SizeMismatch,
    UnreachableError,
)
from haulout.http import FOREIGN, RETRIABLE, Answer, Request
from haulout.local import storage_error
from haulout.registry import blobs
from haulout.registry.errcode import codes, failure
from haulout.registry.quirks import limits_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from haulout.http import Reply
    from haulout.oci import Descriptor
    from haulout.progress import Task
    from haulout.registry.access import Access

_BLOCK: Final = 256 * 1024
_STORED: Final = frozenset({200, 201, 204})
_TAKEN: Final = frozenset({200, 201, 202, 204})
_TOO_LARGE: Final = 413
_NOT_WHOLE: Final = frozenset({400, 405, 411, 415, 501})
"""What a registry that takes pieces only answers to a whole blob (pulp_container issue 1274)."""
_WRONG: Final = frozenset({"DIGEST_INVALID", "NAME_INVALID", "SIZE_INVALID"})
"""Codes of a blob that is refused in pieces, too."""
_LOST: Final = frozenset({404, 409, 416})
"""The registry no longer knows the upload, or sees it elsewhere than we do."""
_MAX_PIECE: Final = 64 * 1024 * 1024
"""Largest piece held in memory, whatever a registry demands as its least."""
_RANGE: Final = re.compile(r"(?:bytes[= ])?0-(\d{1,19})")


def push(
    access: Access,
    blob: Descriptor,
    source: Callable[[], BinaryIO],
    task: Task | None = None,
    *,
    mount_from: str | None = None,
    ask: bool = True,
) -> bool:
    """Store a blob unless it is there already.

    Args:
        access: where to.
        blob: what it must be; the registry checks it.
        source: opens the bytes from the start, once per try.
        task: advanced by bytes, each counted once however often it is sent.
        mount_from: a repository of the same registry that may hold the blob, this one included; then nothing is sent.
        ask: whether it may be there, and is asked for first.

    Returns:
        Whether it was sent.

    Raises:
        SizeMismatch: ``source`` yields more or fewer bytes than ``blob`` says.
        DigestMismatch: the registry says that it stored something else.
        DeniedError: no permission, or the registry wants the bytes sent to another host.
        RegistryError, UnreachableError: it could not be stored within the tries allowed.
        StorageError: ``source`` cannot be read.
    """
    upload = _Upload(access, blob, source, task)
    if ask and blobs.exists(access, blob):
        upload.advance_to(blob.size)
        return False
    return upload.run(mount_from)


class _Lost(Exception):  # noqa: N818 - steers, never leaves this module
    """The upload must begin again."""


class _Upload:
    def __init__(self, access: Access, blob: Descriptor, source: Callable[[], BinaryIO], task: Task | None) -> None:
        self._access = access
        self._blob = blob
        self._source = source
        self._task = task
        self._reported = 0
        self._what = f"{access.name}@{blob.digest}"
        self._attempts = access.attempts(self._what)

    def run(self, mount_from: str | None) -> bool:
        """Try until it is stored; each try begins with a new upload session. Return whether it was sent."""
        host = self._access.host
        piece = host.settings.options.upload_chunk
        if piece is None and host.memory.refuses_whole:
            piece = limits_for(host.name).chunk
        while True:
            reply = self._start(None) if mount_from is None else self._mount(mount_from)
            mount_from = None
            if reply is None:
                self.advance_to(self._blob.size)
                return False
            location = self._access.host.own_location(reply, self._what)
            try:
                if piece is None:
                    self._send_whole(location)
                else:
                    self._send_pieces(location, max(piece, _least_piece(reply)))
            except _Lost:
                continue
            except _Refused as refused:
                if piece is not None:
                    raise self._failed(refused.answer) from None
                # The registry, or a proxy before it, bounds the size of one request; or it takes pieces only.
                piece = limits_for(host.name).chunk
                host.memory.refuses_whole |= refused.answer.status != _TOO_LARGE
                continue
            return True

    def _mount(self, mount_from: str) -> Reply | None:
        """Return how the upload begins; None where the blob was mounted."""
        is_here = mount_from == self._access.repository
        # A mount only saves: what is wrong with the other repository does not prevent sending.
        with suppress(DeniedError, NotFoundError, RegistryError, UnreachableError):
            reply = self._start(mount_from)
            place = reply.headers.get("location", "")
            # Some registries begin every upload with 201.
            if reply.status != 201 or "/blobs/uploads/" in place:
                return reply
            # Not all say where a mounted blob is; and one may say so of all blobs that come from the same repository.
            is_stated = not is_here and place.endswith(f"/blobs/{self._blob.digest}")
            if is_stated or blobs.exists(self._access, self._blob):
                return None
        self._access.host.memory.refuses_mounts |= is_here
        return self._start(None)

    def _start(self, mount_from: str | None) -> Reply:
        query = "" if mount_from is None else f"?mount={self._blob.digest}&from={mount_from}"
        access = self._access if mount_from is None else self._access.widened(f"repository:{mount_from}:pull")
        request = Request("POST", f"blobs/uploads/{query}", {"Content-Length": "0"})
        # What only saves is worth one try.
        attempts = self._attempts if mount_from is None else access.attempts(self._what, 1)
        with access.send(request, what=self._what, accept=_TAKEN, attempts=attempts) as reply:
            return reply

    # -- in one request ----------------------------------------------------------------------------------------------

    def _send_whole(self, location: str) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(self._blob.size)}
        self._commit(location, headers, self._body)

    def _body(self) -> Generator[bytes, None, None]:
        sent = 0
        with self._open() as stream:
            while block := self._read(stream, _BLOCK):
                sent += len(block)
                if sent > self._blob.size:
                    raise SizeMismatch(f"the source of {self._blob.digest}", self._blob.size, "more")
                yield block
                self.advance_to(sent)
        if sent != self._blob.size:
            raise SizeMismatch(f"the source of {self._blob.digest}", self._blob.size, sent)

    # -- in pieces ---------------------------------------------------------------------------------------------------

    def _send_pieces(self, location: str, piece: int) -> None:
        size = self._blob.size
        position = 0
        with self._open() as stream:
            while position < size:
                data = self._read_exactly(stream, min(piece, _MAX_PIECE, size - position))
                location, taken = self._send_piece(location, data, position)
                if taken != position + len(data):
                    self._seek(stream, taken)
                position = taken
                self.advance_to(position)
            if self._read(stream, 1):
                raise SizeMismatch(f"the source of {self._blob.digest}", size, "more")
        self._commit(location, {"Content-Length": "0"})

    def _send_piece(self, location: str, data: bytes, position: int) -> tuple[str, int]:
        """PATCH one piece; returns the next location and where the registry now is."""
        headers = {
            "Content-Type": "application/octet-stream",
            # Without "bytes": distribution-spec, "Pushing a blob in chunks".
            "Content-Range": f"{position}-{position + len(data) - 1}",
        }
        try:
            with self._access.exchange(
                Request("PATCH", location, headers, lambda: data, attempt=self._attempts.number)
            ) as reply:
                if reply.status in _TAKEN:
                    self._attempts.progressed()
                    return self._next_location(reply, location), position + len(data)
                if reply.status == _TOO_LARGE:
                    raise _Refused(reply.take_failure())
                answer = reply.take_failure()
        except FOREIGN as error:
            self._attempts.after(error, self._access.host.name)
        else:
            self._wait(answer)
        return self._ask_position(location, position + len(data))

    def _ask_position(self, location: str, furthest: int) -> tuple[str, int]:
        """GET the upload's state, to go on where the registry really is."""
        try:
            with self._access.exchange(Request("GET", location)) as reply:
                found = _RANGE.fullmatch(reply.headers.get("range", "").strip())
                if reply.status not in {200, 202, 204} or found is None:
                    raise _Lost
                # "0-0" means nothing at all; one byte too few is only sent again and answered 416.
                reached = 0 if found[1] == "0" else int(found[1]) + 1
                if reached > furthest:
                    raise _Lost
                return self._next_location(reply, location), reached
        except FOREIGN as error:
            self._attempts.after(error, self._access.host.name)
            raise _Lost from error

    def _next_location(self, reply: Reply, location: str) -> str:
        return self._access.host.own_location(reply, self._what) if "location" in reply.headers else location

    # -- both --------------------------------------------------------------------------------------------------------

    def _commit(
        self,
        location: str,
        headers: Mapping[str, str],
        body: Callable[[], Generator[bytes, None, None]] | None = None,
    ) -> None:
        url = f"{location}{'&' if '?' in location else '?'}digest={self._blob.digest}"
        options = self._access.host.settings.options
        seconds = max(options.commit_seconds, options.stall_seconds)
        request = Request("PUT", url, headers, body, answer_seconds=seconds, attempt=self._attempts.number)
        try:
            with self._access.exchange(request) as reply:
                self._finish(reply, is_whole=body is not None)
        except FOREIGN as error:
            self._attempts.after(error, self._access.host.name)
            raise _Lost from error

    def _finish(self, reply: Reply, *, is_whole: bool) -> None:
        if reply.status in _STORED:
            stated = reply.headers.get("docker-content-digest", "")
            if stated.startswith("sha256:") and stated != str(self._blob.digest):
                raise DigestMismatch(self._what, str(self._blob.digest), stated[:80])
            self.advance_to(self._blob.size)
            return
        answer = reply.take_failure()
        if answer.status == _TOO_LARGE or (
            is_whole and answer.status in _NOT_WHOLE and codes(answer.body).isdisjoint(_WRONG)
        ):
            raise _Refused(answer)
        self._wait(answer)
        raise _Lost

    def _wait(self, answer: Answer) -> None:
        """Wait after an answer that may be better next time, or raise what it means."""
        if answer.status not in _LOST | RETRIABLE and not answer.limits_rate:
            raise self._failed(answer)
        # A lost upload is worth as many tries as a busy server.
        busy = Answer(503, answer.headers, answer.body) if answer.status in _LOST else answer
        try:
            self._attempts.after_answer(busy, self._access.host.name)
        except HauloutError:
            raise self._failed(answer) from None

    def _failed(self, answer: Answer) -> HauloutError:
        host = self._access.host.name
        error = failure(answer, self._what, host)
        largest = limits_for(host).largest_blob
        if largest is not None and self._blob.size > largest and isinstance(error, RegistryError):
            error.hint = f"{host} is known to refuse blobs above {largest} bytes; this one has {self._blob.size}"
        return error

    def advance_to(self, position: int) -> None:
        """Report progress, never the same byte twice."""
        if self._task is not None and position > self._reported:
            self._task.advance(position - self._reported)
        self._reported = max(self._reported, position)

    def _open(self) -> BinaryIO:
        with self._source_errors():
            return self._source()

    def _read(self, stream: BinaryIO, amount: int) -> bytes:
        with self._source_errors():
            return stream.read(amount)

    def _read_exactly(self, stream: BinaryIO, amount: int) -> bytes:
        parts = []
        while amount and (part := self._read(stream, amount)):
            parts.append(part)
            amount -= len(part)
        if amount:
            raise SizeMismatch(f"the source of {self._blob.digest}", self._blob.size, "fewer")
        return b"".join(parts)

    def _seek(self, stream: BinaryIO, position: int) -> None:
        with self._source_errors():
            stream.seek(position)

    @contextmanager
    def _source_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise storage_error(str(exc.filename or f"the source of {self._blob.digest}"), exc) from exc


class _Refused(Exception):  # noqa: N818 - steers, never leaves this module
    """The request was too large, or pieces are wanted."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def _least_piece(reply: Reply) -> int:
    text = reply.headers.get("oci-chunk-min-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
