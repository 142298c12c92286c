"""AMD's KDS and Intel's PCS over HTTP, with what emulated platforms have, under the vendors' own paths."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from cryptography.hazmat.primitives import serialization
from tests.support.evidence import AT, snp, tdx

from haulout.emulator import authorities
from haulout.tee.snp.parse import Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

DER = serialization.Encoding.DER


class Vendors:
    """What both services answer; tests change it, and count."""

    def __init__(self, at: datetime = AT) -> None:
        self.at = at
        self.asked: list[str] = []
        self.broken: dict[str, tuple[int, bytes]] = {}
        """Answers in place of the right ones, by path."""
        self.early: dict[str, Any] = {"tcbEvaluationDataNumber": 18}
        self.url = ""

    def answer(self, target: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        self.asked.append(target)
        split = urlsplit(target)
        if split.path in self.broken:
            status, body = self.broken[split.path]
            return status, {"Retry-After": "0"}, body
        asked = {name: values[0] for name, values in parse_qs(split.query, strict_parsing=bool(split.query)).items()}
        parts = split.path.strip("/").split("/")
        found = self._kds(parts, asked) if parts[0] in {"vcek", "vlek"} else self._pcs(split.path, asked)
        return found or (404, {}, b"")

    def _kds(self, parts: list[str], asked: dict[str, str]) -> tuple[int, dict[str, str], bytes] | None:
        signer, version, name, what = parts
        if version != "v1" or name not in set(Product):
            return None
        platform = snp(Product(name))
        if what == "cert_chain":
            between = platform.ask if signer == "vcek" else platform.asvk
            return 200, {}, between.pem() + platform.ark.pem()
        if what == "crl":
            return 200, {}, authorities.revoke(platform.ark, (), self.at)
        size = 16 if name == "Turin" else 128
        tcb = platform.tcb
        wanted = {
            "blSPL": f"{tcb.bootloader:02d}",
            "teeSPL": f"{tcb.tee:02d}",
            "snpSPL": f"{tcb.snp:02d}",
            "ucodeSPL": f"{tcb.microcode:02d}",
        }
        if tcb.fmc is not None:
            wanted["fmcSPL"] = f"{tcb.fmc:02d}"
        if signer == "vcek" and what == platform.chip_id.hex()[:size] and asked == wanted:
            return 200, {}, platform.vcek.certificate.public_bytes(DER)
        return None

    def _pcs(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, str], bytes] | None:
        early = asked.pop("update", "standard") == "early"
        changed = self.early if early else {}
        identity = {name: value for name, value in changed.items() if name != "tcbLevels"}
        parts = json.loads(tdx().collateral(self.at, info=changed, identity=identity))

        def chain(name: str) -> str:
            return quote(parts[name])

        def signed(member: str, name: str) -> bytes:
            return f'{{"{member}":{parts[name]},"signature":"{parts[name + "_signature"]}"}}'.encode()

        if path == "/tdx/certification/v4/tcb" and asked["fmspc"] == "90c06f000000":
            return 200, {"TCB-Info-Issuer-Chain": chain("tcb_info_issuer_chain")}, signed("tcbInfo", "tcb_info")
        if path == "/tdx/certification/v4/qe/identity":
            header = {"SGX-Enclave-Identity-Issuer-Chain": chain("qe_identity_issuer_chain")}
            return 200, header, signed("enclaveIdentity", "qe_identity")
        if path == "/sgx/certification/v4/pckcrl" and asked == {"ca": "platform", "encoding": "der"}:
            return 200, {"SGX-PCK-CRL-Issuer-Chain": chain("pck_crl_issuer_chain")}, bytes.fromhex(parts["pck_crl"])
        if path == "/sgx/certification/v4/rootcacrl":
            return 200, {}, parts["root_ca_crl"].encode()
        return None


@contextmanager
def vendors(at: datetime = AT) -> Iterator[Vendors]:
    """Serve both on one port of this machine."""
    served = Vendors(at)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = served.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
