"""The work of ``haulout cw build``: files and stores are opened, the image is built, its key is handed on."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haulout.cli.cw import report
from haulout.cli.terminal import size
from haulout.emulator import keep
from haulout.errors import HauloutError, NotFoundError, StorageError, UsageError
from haulout.http import is_loopback
from haulout.oci import Reference, RegistryReference
from haulout.places import open_store
from haulout.workload import expected_measurement, krun, policy, secret, source
from haulout.workload.build import build as building
from haulout.workload.build import registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.cli.session import Session
    from haulout.progress import Progress
    from haulout.workload import Binding

_LARGEST_ADDED = 256 << 20
_LARGEST_SMALL = 1 << 20


@dataclass(frozen=True)
class Done:
    """What ``cw build`` did."""

    reference: Reference
    built: building.Built
    request: building.Request
    registered: bool
    passphrase_file: str | None
    policy: str | None

    @property
    def pinned(self) -> Reference:
        """The image, by digest."""
        return self.reference.at(self.built.manifest.digest)


def run(
    image: str, found: Path | Reference, dest: Reference, wanted: dict[str, Any], session: Session, progress: Progress
) -> Done:
    """Build an image.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`; until the last step the tag is as it was.
    """
    if dest.tag is None or dest.digest is not None:
        raise UsageError(f"cannot build into {dest}: a digest names what is there already", hint="name a tag")
    request = _request(wanted)
    url = request.config.attestation_url
    if url and request.measurement is None and not wanted["ignore_attestation_errors"]:
        raise UsageError(
            "the broker wants to know the launch measurement of the guest",
            hint="use --firmware-library, --ovmf, or --measurement HEX",
        )
    policy_file = _policy_file(wanted["policy_out"], request.config.tee)
    given = wanted["passphrase_file"]
    passphrase = secret.read(given) if given else secret.make()
    with ExitStack() as stack:
        place = _place(stack, wanted, passphrase)
        root = _root(stack, image, found, request.config.tee.goarch, session, progress)
        base = _base(stack, wanted["base"], session, progress)
        registrar = _Registrar(wanted, request, passphrase, session, progress)
        store = stack.enter_context(open_store(dest, session.connections(), progress, push=True))

        def before(binding: Binding) -> None:
            if policy_file is not None:
                document = policy.policy_for(binding, request.config.tee, request.measurement)
                keep(policy_file.parent, policy_file.name, document.encode())
            registrar.tell()
            # Last, so that whatever fails behind it is about the tag.
            place()

        built = building.build(root, request, passphrase, store, dest.tag, progress=progress, before=before, base=base)
    return Done(dest, built, request, registrar.told, wanted["passphrase_out"], wanted["policy_out"])


class _Registrar:
    """Tells a broker of the workload, if there is one."""

    def __init__(
        self,
        wanted: dict[str, Any],
        request: building.Request,
        passphrase: bytes,
        session: Session,
        progress: Progress,
    ) -> None:
        self._config = request.config
        self._forgiving = bool(wanted["ignore_attestation_errors"])
        self._options = session.connections()
        self._progress = progress
        self.told = False
        self._document: bytes | None = None
        if self._config.attestation_url and request.measurement is not None:
            self._document = registration.document(
                self._config.workload_id,
                self._config.tee,
                request.measurement,
                passphrase,
                es=wanted["tee"] != "sev_no_es",
            )
            if not registration.key_url_fits(self._config.attestation_url, self._config.workload_id):
                progress.note("the URL of the key is longer than the guest of libkrun 1.19 and before has room for")

    def tell(self) -> None:
        if self._document is None:
            return
        from haulout.http import Client  # noqa: PLC0415 - loads the HTTP client

        url = f"{self._config.attestation_url}{registration.PATH}"
        try:
            with Client(self._options) as client:
                client.post_json(url, self._document, what="registering the workload", attempts=1)
        except HauloutError as exc:
            if not self._forgiving:
                raise
            self._progress.note(f"the broker was not told: {exc}")
            return
        self.told = True


def document(done: Done) -> dict[str, Any]:
    """Return the JSON of a build, but for its time."""
    built, measured = done.built, done.request.measurement
    return {
        "reference": str(done.reference),
        "manifest": {"digest": str(built.manifest.digest), "size": built.manifest.size},
        "layer": {"digest": str(built.layer.digest), "size": built.layer.size},
        "config": report.config_document(done.request.config),
        "disk": {
            "size": built.disk_size,
            "file_system_size": built.file_system_size,
            "content_size": built.content_size,
            "luks_uuid": built.luks_uuid,
        },
        "binding": report.binding_document(built.binding),
        "measurement": None if measured is None else measured.hex(),
        "registered": done.registered,
        "passphrase_file": done.passphrase_file,
        "policy": done.policy,
    }


def lines(done: Done) -> Iterator[str]:
    """Write a build for people."""
    built, config = done.built, done.request.config
    yield f"built {done.reference} for {str(config.tee).upper()}"
    yield (
        f"  disk            {size(built.disk_size)}: {size(built.content_size)} of files "
        f"in an ext4 of {size(built.file_system_size)}"
    )
    yield from report.binding_lines(built.binding)
    if done.request.measurement is not None:
        yield f"  measurement     {done.request.measurement.hex()}"
    if done.registered:
        yield f"  passphrase      told to {config.attestation_url}"
    if done.passphrase_file:
        yield f"  passphrase      {done.passphrase_file}: keep it, and keep it secret"
    if done.policy:
        yield f"  policy          {done.policy}"
    yield str(done.pinned)


def _request(wanted: dict[str, Any]) -> building.Request:
    tee = krun.Tee.SEV if wanted["tee"] == "sev_no_es" else krun.Tee(wanted["tee"])
    chain = _read(wanted["sev_chain"], _LARGEST_SMALL)
    if chain is not None and tee is not krun.Tee.SEV:
        raise UsageError("--sev-chain goes with --type sev alone")
    url = wanted["attestation_url"]
    config = krun.WorkloadConfig(
        tee,
        krun.tee_data(tee, chain=chain is not None),
        wanted["workload_id"] or secrets.token_hex(16),
        wanted["cpus"],
        wanted["memory"],
        registration.check_url(url, is_loopback, plain=wanted["attestation_plain_http"]) if url else "",
    )
    key = _read(wanted["broker_key"], _LARGEST_SMALL)
    if key is not None:
        from haulout.workload import broker_key  # noqa: PLC0415

        key = broker_key(key, wanted["broker_key"])
    created = wanted["timestamp"]
    return building.Request(
        config,
        int(time.time()) if created is None else created,
        wanted["slop"],
        tuple(_added(wanted["added"])),
        chain,
        key,
        expected_measurement(wanted, tee),
    )


def _added(texts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for text in texts:
        name, target = source.added_file(text)
        data = _read(name, _LARGEST_ADDED)
        assert data is not None
        yield target, data


def _read(name: str | None, limit: int) -> bytes | None:
    if name is None:
        return None
    try:
        with Path(name).open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError as exc:
        raise NotFoundError(f"no such file: {name}") from exc
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else None
        raise StorageError(name, (reason or "it is no file name").lower()) from exc
    if len(data) > limit:
        raise UsageError(f"{name} is larger than the {limit} bytes that are read")
    return data


def _place(stack: ExitStack, wanted: dict[str, Any], passphrase: bytes) -> Callable[[], None]:
    name = wanted["passphrase_out"]
    return stack.enter_context(secret.kept(Path(name), passphrase)) if name else lambda: None


def _root(
    stack: ExitStack, image: str, found: Path | Reference, goarch: str, session: Session, progress: Progress
) -> source.Root:
    if isinstance(found, Path):
        if not found.is_dir():
            raise UsageError(f"{image} is no folder and no image", hint="name a folder, or an image as oci:DIR:TAG")
        return source.from_folder(found, goarch)
    store = stack.enter_context(open_store(found, session.connections(), progress))
    selector = found.digest or found.tag or "latest"
    hold = isinstance(found, RegistryReference)
    return stack.enter_context(source.from_image(store, selector, goarch, progress, hold=hold))


def _base(stack: ExitStack, reference: Reference | None, session: Session, progress: Progress) -> building.Base | None:
    if reference is None:
        return None
    store = stack.enter_context(open_store(reference, session.connections(), progress))
    return building.Base(store, reference.digest or reference.tag or "latest")


def _policy_file(name: str | None, tee: krun.Tee) -> Path | None:
    """Return where the policy goes; what cannot be is refused before the work."""
    if not name:
        return None
    policy.require_evidence(tee)
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise StorageError(
            name, "there is a folder of this name" if path.is_dir() else f"no such folder: {path.parent}"
        )
    return path
