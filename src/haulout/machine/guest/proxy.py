"""The proxy that a guest is to use: this host's own, as the guest sees it. Pure.

Passwords are in no machine file, and in one file of the guest alone, which root and the machine's user read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from haulout.errors import UsageError
from haulout.machine.guest.seed import USER

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST: Final = "host"
NONE: Final = "none"
GATEWAY: Final = "10.0.2.2"
"""This host's loopback address as a guest sees it, in QEMU's user network."""
_DIRECT: Final = ("localhost", "127.0.0.1", "::1", GATEWAY)
_SAFE: Final = "%/:@[]?&=+,;~!*()"
_FILE: Final = "/etc/haulout/proxy.env"
_SERVICES: Final = ("podman", "podman-", "rpm-ostreed", "bootc-fetch-apply-updates")
"""systemd's services that fetch; ``podman-`` stands for all that begin so."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Variables for a guest, by name, and what its owner should know."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    remarks: tuple[str, ...] = ()


def proxy_setting(text: str) -> str:
    """Return what the machine file says about the proxy: ``host``, ``none``, or a URL.

    Raises:
        UsageError: it is none of these, or the URL holds a password, which would be shown with the machine.
    """
    if text in {HOST, NONE}:
        return text
    url = _seen(text)
    if url is None or "://" not in text:
        raise UsageError("--proxy takes host, none, or the URL of a proxy", hint="for example http://proxy:3128")
    if "@" in url:
        raise UsageError(
            "the URL of a machine's proxy cannot hold a user or a password",
            hint="set HTTPS_PROXY and HTTP_PROXY when the machine starts, and leave --proxy as host",
        )
    return text


def proxy_for_guest(setting: str, environment: Mapping[str, str]) -> ProxySettings:
    """Return what a guest is to use.

    Args:
        setting: of the machine file.
        environment: of this host, where ``setting`` is ``host``.
    """
    if setting == NONE:
        return ProxySettings()
    given = environment if setting == HOST else {"http_proxy": setting, "https_proxy": setting}
    found, remarks = {}, []
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        value = (given.get(name) or given.get(name.upper()) or "").strip()
        if value and (url := _seen(value)) is not None:
            found[name] = url
        elif value:
            remarks.append(f"{name} of this host is not the URL of a proxy, and is not passed on")
    if found:
        named = re.split(r"[\s,]+", given.get("no_proxy") or given.get("NO_PROXY") or "")
        direct = [each for each in named if re.fullmatch(r"[\w.:*/\[\]-]+", each, re.ASCII)]
        found["no_proxy"] = ",".join(dict.fromkeys([*direct, *_DIRECT]))
    return ProxySettings(found | {name.upper(): value for name, value in found.items()}, tuple(remarks))


def _seen(value: str) -> str | None:
    """Return a proxy's URL as the guest needs it; None where it is not one."""
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    known = re.fullmatch(r"https?|socks[45][ah]?", parts.scheme) and re.fullmatch(r"[\w.:-]+", host, re.ASCII)
    # urlsplit drops line breaks.
    if not known or not value.isprintable():
        return None
    user, at, _ = parts.netloc.rpartition("@")
    address = GATEWAY if _is_loopback(host) else f"[{host}]" if ":" in host else host
    # What a shell, systemd or apt would take for its own is percent-encoded: RFC 3986, section 2.1.
    return quote(f"{parts.scheme}://{user}{at}{address}" + (f":{port}" if port else ""), safe=_SAFE)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def script(variables: Mapping[str, str]) -> str:
    """Return the script that makes a guest use the proxy, or none: its services, login shells and apt."""
    lines = "\n".join(f"{name}='{value}'" for name, value in sorted(variables.items()))
    folders = " ".join(f"/etc/systemd/{scope}/{name}.service.d" for scope in ("system", "user") for name in _SERVICES)
    apt = "".join(
        f'Acquire::{scheme}::Proxy "{variables[name]}";\n'
        for scheme, name in (("http", "http_proxy"), ("https", "https_proxy"))
        if name in variables
    )
    mask = "077" if "@" in apt else "022"
    return f"""new=$(cat <<'END'
{lines}
END
)
if [ "$(cat {_FILE} 2>/dev/null)" != "$new" ]; then
changed=1
rm -f {_FILE} /etc/profile.d/haulout-proxy.sh /etc/apt/apt.conf.d/95haulout-proxy
for each in {folders}; do rm -f $each/haulout-proxy.conf; done
if [ -n "$new" ]; then
mkdir -p /etc/haulout /etc/profile.d {folders}
(umask 077; printf '%s\\n' "$new" >{_FILE}; chgrp {USER} {_FILE} && chmod 640 {_FILE}) 2>/dev/null
echo '[ ! -r {_FILE} ] || {{ set -a; . {_FILE}; set +a; }}' >/etc/profile.d/haulout-proxy.sh
for each in {folders}; do printf '[Service]\\nEnvironmentFile=-{_FILE}\\n' >$each/haulout-proxy.conf; done
[ ! -d /etc/apt/apt.conf.d ] || (umask {mask}; cat >/etc/apt/apt.conf.d/95haulout-proxy <<'END'
{apt}END
)
fi
fi"""
