"""Build a workload: an encrypted image out of an image or a folder, bound to its workload, its key handed on."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import HauloutError, StorageError, UsageError
from haulout.http import Client
from haulout.local import read_head, replace_file, storage_errors
from haulout.oci import RegistryReference, SizedDigest
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.workload import (
    REGISTER_PATH,
    Image,
    ImageSpec,
    Registration,
    Tee,
    WorkloadConfig,
    broker_key,
    build_image,
    check_url,
    expected_measurement,
    keep_passphrase,
    key_url_fits,
    new_passphrase,
    policy_for,
    require_evidence,
    root_of_folder,
    root_of_image,
)

if TYPE_CHECKING:
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.workload import Binding, BuiltImage, Measurement, Root

_LARGEST_ADDED: Final = 256 << 20
_LARGEST_SMALL: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Broker:
    """A key broker that is registered with.

    Attributes:
        url: of the broker; the guest asks it for its passphrase.
        plain_http: send the passphrase over plain HTTP even to another machine.
        optional: go on where registering fails.
    """

    url: str
    plain_http: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to build.

    Attributes:
        source: a folder with a root file system, or an image.
        target: where the image goes; it has a tag.
        passphrase: of the disk; None: a new one is made.
        passphrase_out: a file that must not exist, and gets the passphrase.
        broker: gets the passphrase, too.
        tee: which TEE the guest runs in.
        es: for SEV, whether the guest's registers have to be encrypted.
        workload_id: None: 32 random digits.
        cpus: processors of the guest, 1 to 255.
        memory: of the guest, in MiB.
        slop: room to leave in the root, as of ``buildah mkcw --slop``.
        added: files to add, and where they go in the root.
        base: an image whose layers go below, not encrypted.
        broker_key: a file with the broker's public key, which becomes a part of the binding.
        sev_chain: a file with the certificate chain of the platform, for SEV.
        measurement: how the launch measurement is known; None: it is not.
        policy_out: gets a policy for ``haulout evidence verify`` that names this workload.
        created: time of creation, in seconds since 1970; None: now.
    """

    source: Path | Reference
    target: Reference
    passphrase: bytes | None = field(default=None, repr=False)
    passphrase_out: Path | None = None
    broker: Broker | None = None
    tee: Tee = Tee.SNP
    es: bool = True
    workload_id: str | None = None
    cpus: int = 2
    memory: int = 512
    slop: str = "25%"
    added: tuple[tuple[Path, str], ...] = ()
    base: Reference | None = None
    broker_key: Path | None = None
    sev_chain: Path | None = None
    measurement: Measurement | None = None
    policy_out: Path | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class BuiltWorkload(Document):
    """What was built."""

    reference: Reference
    image: BuiltImage
    config: WorkloadConfig
    measurement: bytes | None
    registered: bool
    passphrase_file: Path | None
    policy: Path | None
    seconds: float

    json_members = (
        "reference",
        "manifest",
        "layer",
        "config",
        "disk=image.disk",
        "binding=image.binding",
        "measurement",
        "registered",
        "passphrase_file",
        "policy",
        "seconds",
    )

    @property
    def manifest(self) -> SizedDigest:
        """What the tag names now."""
        return SizedDigest(self.image.manifest.digest, self.image.manifest.size)

    @property
    def layer(self) -> SizedDigest:
        """The layer that holds the disk."""
        return SizedDigest(self.image.layer.digest, self.image.layer.size)

    @property
    def pinned(self) -> Reference:
        """The image, by digest."""
        return self.reference.at(self.image.manifest.digest)


def build_workload(
    request: BuildRequest, *, connections: ConnectionOptions | None = None, progress: Progress | None = None
) -> BuiltWorkload:
    """Build an encrypted image in one pass, straight into its place, and hand on its key.

    Args:
        request: what to build.
        connections: how registries and the broker are reached.
        progress: receives the progress of the work.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`; until the last step the tag is as it was.
    """
    begun = time.monotonic()
    connections, progress = connections or ConnectionOptions(), progress or NullProgress()
    tag = _check(request)
    spec = _spec(request)
    passphrase = request.passphrase or new_passphrase()
    with ExitStack() as stack:
        keep = None
        if request.passphrase_out is not None:
            keep = stack.enter_context(keep_passphrase(request.passphrase_out, passphrase))
        registration = _registration(request, spec, passphrase, progress)
        opened = _Opened(stack, connections, progress)
        root = opened.root(request.source, request.tee.goarch)
        base = None if request.base is None else opened.image(request.base)
        store = stack.enter_context(open_store(request.target, connections, progress, push=True))
        registered = False

        def before(binding: Binding) -> None:
            nonlocal registered
            if request.policy_out is not None:
                policy = policy_for(binding, request.tee, spec.measurement)
                with storage_errors(request.policy_out):
                    replace_file(request.policy_out, policy.encode())
            if request.broker is not None and registration is not None:
                registered = _register(request.broker, spec.config, registration, connections, progress)
            # Last, so that whatever fails after it is about the tag.
            if keep is not None:
                keep()

        image = build_image(root, spec, passphrase, store, tag, progress=progress, before=before, base=base)
    return BuiltWorkload(
        request.target,
        image,
        spec.config,
        spec.measurement,
        registered,
        request.passphrase_out,
        request.policy_out,
        time.monotonic() - begun,
    )


def _check(request: BuildRequest) -> str:
    """Refuse what cannot be built before any work, and return the tag to build."""
    tag, broker = request.target.tag, request.broker
    if tag is None or request.target.digest is not None:
        raise UsageError(f"cannot build into {request.target}: a digest names existing content", hint="name a tag")
    _check_passphrase(request)
    if broker is not None and request.measurement is None and not broker.optional:
        raise UsageError(
            "the broker requires the launch measurement of the guest",
            hint="use --firmware-library, --ovmf, or --measurement HEX",
        )
    if request.sev_chain is not None and request.tee is not Tee.SEV:
        raise UsageError("--sev-chain can be used only with --type sev")
    if request.policy_out is not None:
        require_evidence(request.tee)
        folder = request.policy_out.parent
        if request.policy_out.is_dir() or not folder.is_dir():
            reason = "it is a directory" if request.policy_out.is_dir() else f"no such folder: {folder}"
            raise StorageError(str(request.policy_out), reason)
    return tag


def _check_passphrase(request: BuildRequest) -> None:
    """Require that the passphrase is given or made, and kept somewhere."""
    if request.passphrase is not None and request.passphrase_out is not None:
        raise UsageError(
            "--passphrase-file and --passphrase-out cannot be combined",
            hint="the first gives a passphrase, the second makes one; use one of them",
        )
    kept = request.passphrase is not None or request.passphrase_out is not None
    if not kept and request.broker is None:
        raise UsageError(
            "no place was given for the disk's passphrase",
            hint="use --passphrase-out FILE, --passphrase-file FILE, or --attestation-url URL",
        )
    if not kept and request.broker is not None and request.broker.optional:
        raise UsageError(
            "the passphrase would be lost if the broker does not accept it", hint="use --passphrase-out FILE as well"
        )


def _spec(request: BuildRequest) -> ImageSpec:
    """Read the files that the request names."""
    broker = request.broker
    chain = None if request.sev_chain is None else _read(request.sev_chain, _LARGEST_SMALL)
    config = WorkloadConfig.of(
        request.tee,
        request.workload_id or secrets.token_hex(16),
        request.cpus,
        request.memory,
        attestation_url="" if broker is None else check_url(broker.url, plain=broker.plain_http),
        chain=chain is not None,
    )
    key = None
    if request.broker_key is not None:
        key = broker_key(_read(request.broker_key, _LARGEST_SMALL), str(request.broker_key))
    measured = None
    if request.measurement is not None:
        measured = expected_measurement(request.measurement, config, es=request.es)
    return ImageSpec(
        config,
        int(time.time()) if request.created is None else request.created,
        request.slop,
        tuple((target, _read(path, _LARGEST_ADDED)) for path, target in request.added),
        chain,
        key,
        measured,
    )


def _read(path: Path, limit: int) -> bytes:
    data = read_head(path, limit + 1)
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes, the most that is accepted")
    return data


class _Opened:
    """What is built from, open until the build is done."""

    def __init__(self, stack: ExitStack, connections: ConnectionOptions, progress: Progress) -> None:
        self._stack = stack
        self._connections = connections
        self._progress = progress

    def image(self, reference: Reference) -> Image:
        """Open the place of an image."""
        store = self._stack.enter_context(open_store(reference, self._connections, self._progress))
        return Image(store, reference)

    def root(self, source: Path | Reference, goarch: str) -> Root:
        """Open a root file system."""
        if isinstance(source, Path):
            if not source.is_dir():
                raise UsageError(
                    f"{source} is neither a directory nor an image", hint="name a directory, or an image as oci:DIR:TAG"
                )
            return root_of_folder(source, goarch)
        hold = isinstance(source, RegistryReference)
        return self._stack.enter_context(root_of_image(self.image(source), goarch, self._progress, hold=hold))


def _registration(request: BuildRequest, spec: ImageSpec, passphrase: bytes, progress: Progress) -> Registration | None:
    """Return what is sent to the broker; None where there is no broker, or nothing that it would accept."""
    if request.broker is None or spec.measurement is None:
        return None
    config = spec.config
    if not key_url_fits(config.attestation_url, config.workload_id):
        progress.note("the URL of the key is too long for the guest of libkrun 1.19 and earlier")
    return Registration.of(config.workload_id, config.tee, spec.measurement, passphrase, es=request.es)


def _register(
    broker: Broker,
    config: WorkloadConfig,
    registration: Registration,
    connections: ConnectionOptions,
    progress: Progress,
) -> bool:
    """Register with the broker; False where that failed and need not succeed."""
    url = f"{config.attestation_url}{REGISTER_PATH}"
    try:
        with Client(connections) as client:
            client.post_json(url, registration.to_bytes(), what="registering the workload", attempts=1)
    except HauloutError as exc:
        if not broker.optional:
            raise
        progress.note(f"could not register with the broker: {exc}")
        return False
    return True
