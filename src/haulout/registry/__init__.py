"""The distribution API over HTTP: authentication, retries, ranges, uploads, referrers."""

from haulout.http.options import ConnectionOptions, Credentials
from haulout.registry.auth.login import login, logout
from haulout.registry.client import Registries
from haulout.registry.repository import RegistryRepository

__all__ = ["ConnectionOptions", "Credentials", "Registries", "RegistryRepository", "login", "logout"]
