"""``haulout broker serve``: answer guests and owners."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import params
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.brokers import Serving
    from haulout.cli.session import Session

_FILE = click.Path(path_type=Path)
_PORTS = 65535


@click.command(
    "serve",
    cls=Verb,
    examples=(
        Example("haulout broker serve --state broker", "serve on this machine alone"),
        Example(
            "haulout broker serve --state broker --listen 0.0.0.0:8443 --cert fullchain.pem --key key.pem",
            "serve others, with a certificate of yours",
        ),
    ),
)
@params.state
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8443", show_default=True, help="Where to listen.")
@click.option("--cert", "certificate", metavar="FILE", type=_FILE, help="Certificate, with those above it, in PEM.")
@click.option("--key", metavar="FILE", type=_FILE, help="Its private key in PEM.")
@click.option(
    "--no-tls", "plain_http", is_flag=True, help="No TLS, on a loopback address: for a proxy on this machine."
)
@click.option("--client-ca", metavar="FILE", type=_FILE, help="Accept client certificates of owners that these sign.")
@click.option(
    "--collateral",
    metavar="DIR",
    type=_FILE,
    help="Certificates and collateral of vendors, for what guests do not send.",
)
@click.option("--share-port", "shared_port", is_flag=True, help="Let several processes listen on this port.")
@click.option("--forwarded", is_flag=True, help="Take clients' addresses from the proxy's X-Forwarded-For.")
@options.common
@click.pass_obj
def command(
    session: Session,
    folder: Path,
    listen: str,
    certificate: Path | None,
    key: Path | None,
    plain_http: bool,
    client_ca: Path | None,
    collateral: Path | None,
    shared_port: bool,
    forwarded: bool,
) -> int:
    """Answer guests and owners until SIGINT or SIGTERM.

    Any number of instances may share one PostgreSQL database: any of them serves any step.
    """
    from haulout.brokers import ServeRequest, broker_serve  # noqa: PLC0415 - loads the server

    host, _, text = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (text.isascii() and text.isdecimal()) or int(text) > _PORTS:
        raise UsageError(f"{listen[:80]!r} is not HOST:PORT", hint="for example: --listen 0.0.0.0:8443")

    def ready(serving: Serving) -> None:
        document = {"url": serving.url, "host": serving.host, "port": serving.port}
        session.result("broker serve", document, [f"listening on {serving.url}"], brief=serving.url)
        sys.stdout.flush()

    broker_serve(
        ServeRequest(
            folder=folder,
            host=host,
            port=int(text),
            certificate=certificate,
            key=key,
            plain_http=plain_http,
            client_ca=client_ca,
            collateral=collateral,
            shared_port=shared_port,
            forwarded=forwarded,
        ),
        ready,
    )
    return 0
