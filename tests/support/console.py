"""The console over HTTPS, with generated data, for real browsers."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import trustme
from starlette.applications import Starlette
from starlette.middleware import Middleware
from tests.support.asgi import served
from tests.support.broker_records import NOW, chip, fill, new_store

from haulout.broker.app.web import Answering
from haulout.broker.operations import Guard, Limit, Limiter, Limits, Metrics
from haulout.broker.operations.console import Console, ForecastLine, ForecastView

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = Path("/usr/bin/chromium")
FORECAST = ForecastView(
    "2026-06-01T11:40:00Z",
    "tomorrow, with what vendors announce as far as it is at hand",
    14,
    (
        ForecastLine(
            "payments",
            chip(12),
            "the certificate 'SEV-VCEK' expired at 2026-06-02T08:00:00Z",
            "certificate-validity",
            (),
        ),
        ForecastLine(
            "web-frontend",
            "tdx:" + chip(90)[4:36],
            "the platform's TCB is OutOfDate; allowed are UpToDate",
            "tcb-status",
            ("TDX module: has 5, needs 6: update the TDX module",),
        ),
    ),
)


@contextmanager
def shown_console() -> Iterator[str]:
    """Serve it; yield its URL."""
    with tempfile.TemporaryDirectory() as folder:
        store = new_store(Path(folder))
        fill(store)
        console = Console(store, lambda: NOW, forecast=lambda owner: FORECAST if owner == "shop" else None)
        app = Starlette(routes=console.routes(), middleware=[Middleware(Answering)])
        limits = Limits(client=Limiter(Limit(10_000, 10_000)))
        guard = Guard(app, limits=limits, metrics=Metrics(clock=lambda: NOW), monotonic=monotonic)
        certificate = trustme.CA().issue_cert("127.0.0.1")
        own, key = Path(folder, "tls.pem"), Path(folder, "tls.key")
        own.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())
        with served(guard, ssl_certfile=own, ssl_keyfile=key) as (host, port):
            yield f"https://{host}:{port}/console"
        store.close()


@contextmanager
def browser() -> Iterator[Any]:
    """Start the Debian package's Chromium without a window; playwright drives it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        # Its own sandbox cannot be had by root.
        started = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


def log_in(page: Any, url: str, token: str) -> None:
    """Log in as an owner."""
    page.goto(url)
    page.get_by_label("Owner's token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(url)
