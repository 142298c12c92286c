"""How a broker is run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How a broker is run.

    Attributes:
        url: at which guests and owners reach it; tokens name it as their issuer.
        v0: whether workloads may be registered and keys asked for by the protocol of libkrun up to 1.19.
        forwarded: whether the address of a client is taken from a proxy's X-Forwarded-For.
    """

    url: str
    v0: bool = False
    forwarded: bool = False
