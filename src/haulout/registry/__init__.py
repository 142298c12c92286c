"""The distribution API over HTTP: authentication, retries, ranges, uploads, referrers."""

from haulout.registry.client import Registries
from haulout.registry.login import login, logout
from haulout.registry.options import ConnectionOptions, Credentials
from haulout.registry.repository import RegistryRepository

__all__ = ["ConnectionOptions", "Credentials", "Registries", "RegistryRepository", "login", "logout"]
