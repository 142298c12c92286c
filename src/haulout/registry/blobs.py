"""Streams blobs, whole or in single ranges (distribution-spec, "Pulling blobs"; RFC 9110 §14).

A stream survives broken connections, stalls, expired signed URLs and busy servers: it takes up again where it was.
"""

from __future__ import annotations

import re
from threading import Lock
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import HauloutError, RegistryError, SizeMismatch, StorageError, UsageError
from haulout.http import FOREIGN, REDIRECTS, RETRIABLE, Hops, Origin, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.content import BlobStream
    from haulout.http import Reply
    from haulout.oci import Descriptor, Digest
    from haulout.registry.access import Access

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_EXPIRED: Final = frozenset({400, 401, 403, 404, 410})
"""What stores answer to a signed URL whose time is over."""
_REFUSED: Final = frozenset(range(400, 500)) - RETRIABLE
_PROGRESS: Final = 256 * 1024
"""Bytes after which a stream counts as having moved on, and may fail as often again."""
_SKIP_BLOCK: Final = 256 * 1024


class SignedUrls:
    """Where blobs were last found, shared by all streams: a redirect is resolved once, not once per range."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._urls: dict[Digest, str] = {}

    def get(self, digest: Digest) -> str | None:
        """The URL last redirected to."""
        with self._lock:
            return self._urls.get(digest)

    def put(self, digest: Digest, url: str) -> None:
        """Remember a URL."""
        with self._lock:
            self._urls[digest] = url

    def drop(self, digest: Digest, url: str) -> None:
        """Forget a URL, unless another thread has replaced it already."""
        with self._lock:
            if self._urls.get(digest) == url:
                del self._urls[digest]


class EmbeddedStream:
    """A blob that its descriptor carries (image-spec, descriptor.md, ``data``), or an empty one."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self._data = memoryview(data)[start:stop]

    def read(self, amount: int) -> bytes:
        """Return the next ``amount`` bytes."""
        part, self._data = self._data[:amount], self._data[amount:]
        return bytes(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class RangeStream:
    """Bytes of one blob from a registry; satisfies ``content.ports.BlobStream``."""

    def __init__(self, access: Access, urls: SignedUrls, blob: Descriptor, start: int, stop: int) -> None:
        self._access = access
        self._urls = urls
        self._blob = blob
        self._what = f"{access.name}@{blob.digest}"
        self._attempts = access.attempts(self._what)
        self.start = start
        self.stop = stop
        self._position = start
        self._moved = 0
        self._reply_stop = stop
        self._reply: Reply | None = self._open(is_first=True)

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``, none after it.

        Raises:
            UnreachableError: the connection failed and could not be resumed.
            SizeMismatch: the blob ended before ``stop``.
        """
        wanted = min(amount, self.stop - self._position)
        data = self._read_some(wanted) if wanted > 0 else b""
        if len(data) == wanted:
            return data
        parts = [data]
        missing = wanted - len(data)
        while missing:
            data = self._read_some(missing)
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def _read_some(self, wanted: int) -> bytes:
        while True:
            if self._reply is None:
                self._reply = self._open(is_first=False)
            try:
                data = self._reply.read(min(wanted, self._reply_stop - self._position))
                if not data:
                    raise EOFError("it ended early")
            except FOREIGN as error:
                self._close_reply()
                self._attempts.after(error, self._access.host.name)
                continue
            self._position += len(data)
            self._moved += len(data)
            if self._moved >= _PROGRESS:
                self._moved = 0
                self._attempts.progressed()
            if self._position >= self._reply_stop:
                # Read to its end, so that the connection serves the next request.
                self._close_reply()
            return data

    def _open(self, *, is_first: bool) -> Reply:
        """Send the request for what is left; leaves the answer positioned at ``_position``."""
        while True:
            reply = self._ask()
            try:
                begin = self._check(reply)
                if is_first and reply.status == 200:
                    # The whole blob comes, whatever was asked: the reader may use all of it.
                    self.start = self._position = begin
                    self.stop = self._reply_stop = self._blob.size
                self._skip(reply, self._position - begin)
            except FOREIGN as error:
                reply.close()
                self._attempts.after(error, self._access.host.name)
            except BaseException:
                reply.close()
                raise
            else:
                return reply

    def _ask(self) -> Reply:
        """Send one GET, through redirects, until 200 or 206 comes."""
        whole = self._position == 0 and self.stop == self._blob.size
        headers = {} if whole else {"Range": f"bytes={self._position}-{self.stop - 1}"}
        digest = self._blob.digest
        hops = Hops(self._what, self._access.host.name)
        renewed = False
        while True:
            url = self._urls.get(digest)
            request = Request("GET", url or f"blobs/{digest}", headers, attempt=self._attempts.number)
            try:
                reply = self._access.exchange(request) if url is None else self._access.redirected(request)
            except FOREIGN as error:
                if url is not None:
                    # Perhaps the registry names another store by now.
                    self._urls.drop(digest, url)
                self._attempts.after(error, self._access.host.name if url is None else Origin.of(url).netloc)
                continue
            if reply.status in {200, 206}:
                return reply
            if reply.status in REDIRECTS:
                self._urls.put(digest, hops.next(reply))
                continue
            answer = reply.take_failure()
            if url is not None:
                self._urls.drop(digest, url)
                if answer.status in _EXPIRED and not renewed:
                    renewed = True
                    hops = Hops(self._what, self._access.host.name)
                    continue
            if answer.status == 416:
                raise SizeMismatch(self._what, self._blob.size, "less: the server has no such range")
            name = self._access.host.name
            self._attempts.after_answer(answer, name if url is None else reply.host, "" if url is None else name)

    def _check(self, reply: Reply) -> int:
        """Compare an answer with what was asked; returns the offset of its first byte."""
        reply.refuse_encoding(self._what)
        size = self._blob.size
        if reply.status == 200:
            if reply.length is not None and reply.length != size:
                raise SizeMismatch(self._what, size, reply.length)
            self._reply_stop = self.stop
            return 0
        found = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", "").strip().lower())
        if found is None:
            raise RegistryError(f"{self._what}: {reply.host} sends a part without saying which", status=206)
        begin, end = int(found[1]), int(found[2]) + 1
        if found[3] != "*" and int(found[3]) != size:
            raise SizeMismatch(self._what, size, int(found[3]))
        if begin != self._position or not begin < end <= self.stop:
            raise RegistryError(
                f"{self._what}: {reply.host} sends bytes {begin}-{end - 1} where "
                f"{self._position}-{self.stop - 1} were asked",
                status=206,
            )
        if reply.length is not None and reply.length != end - begin:
            raise SizeMismatch(self._what, end - begin, reply.length)
        self._reply_stop = end
        return begin

    def _skip(self, reply: Reply, amount: int) -> None:
        # A server that ignores ranges begins again at 0.
        while amount > 0:
            data = reply.read(min(amount, _SKIP_BLOCK))
            if not data:
                raise EOFError("it ended early")
            amount -= len(data)

    def _close_reply(self) -> None:
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close_reply()


class MirroredStream:
    """Bytes of one blob from a place that may fail; satisfies ``content.ports.BlobStream``.

    Args:
        stream: from the mirror.
        elsewhere: given the error, and the offset of the next byte, opens the blob from there at another place.
    """

    def __init__(self, stream: BlobStream, elsewhere: Callable[[HauloutError, int], BlobStream]) -> None:
        self._stream = stream
        self._elsewhere = elsewhere
        self._position = self.start = stream.start
        self.stop = stream.stop

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at ``stop``, none after it.

        Raises:
            HauloutError: no other place has it.
        """
        try:
            data = self._stream.read(min(amount, self.stop - self._position))
        except (UsageError, StorageError):
            raise
        except HauloutError as error:
            self._stream.__exit__(None, None, None)
            # What comes is a stream of this kind, too, unless it is of the registry itself.
            self._stream = self._elsewhere(error, self._position)
            self._skip(self._position - self._stream.start)
            return self.read(amount)
        self._position += len(data)
        return data

    def _skip(self, amount: int) -> None:
        while amount > 0 and (skipped := len(self._stream.read(min(_SKIP_BLOCK, amount)))):
            amount -= skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.__exit__(*exc)


def exists(access: Access, blob: Descriptor) -> bool:
    """Ask by HEAD whether a blob is there.

    Raises:
        SizeMismatch: it is there with another size, so that one of the two descriptions is wrong.
    """
    what = f"{access.name}@{blob.digest}"
    # To a push, any refusal means "send it": the upload itself is then refused, if at all.
    accept = REDIRECTS | {200, 404} | (_REFUSED if access.writes else frozenset())
    attempts = access.attempts(what, 2 if access.writes else None)
    try:
        reply = access.send(Request("HEAD", f"blobs/{blob.digest}"), what=what, accept=accept, attempts=attempts)
    except RegistryError:
        if access.writes:
            return False
        raise
    with reply:
        if reply.status == 200 and reply.length is not None and reply.length != blob.size:
            raise SizeMismatch(what, blob.size, reply.length)
        return reply.status == 200 or reply.status in REDIRECTS
