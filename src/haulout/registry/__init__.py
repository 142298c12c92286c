"""The distribution API over HTTP: authentication, retries, ranges, uploads, referrers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.registry.client import Registries
    from haulout.registry.login import check_user, login, logout, registry_host
    from haulout.registry.options import ConnectionOptions, Credentials
    from haulout.registry.repository import RegistryRepository


__all__ = [
    "ConnectionOptions",
    "Credentials",
    "Registries",
    "RegistryRepository",
    "check_user",
    "login",
    "logout",
    "registry_host",
]

open_face(
    __name__,
    {
        "client": ("Registries",),
        "login": ("check_user", "login", "logout", "registry_host"),
        "options": ("ConnectionOptions", "Credentials"),
        "repository": ("RegistryRepository",),
    },
)
