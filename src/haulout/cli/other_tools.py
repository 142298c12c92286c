"""What other tools call things: people who come from them are told what it is called here. Pure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_VERBS: Final = (
    (("ls", "list", "images", "repo", "catalog", "search"), "tags", "haulout tags HOST/NAME lists tags"),
    (("ls", "list", "images", "repo", "show", "manifest"), "inspect", "haulout inspect REF shows what a tag holds"),
    (("start", "create", "init", "boot"), "machine", "haulout machine init NAME REF makes a machine"),
    (("rm", "rmi", "remove", "del", "untag"), "delete", "haulout delete REF takes a tag away"),
    (("gc", "clean", "cleanup", "garbage-collect"), "prune", "haulout prune HOST/NAME takes old versions away"),
    (("cp", "clone", "mirror", "promote"), "copy", "haulout copy SRC DST copies a tag"),
    (("rename", "retag", "mv"), "tag", "haulout tag REF NEW gives another name"),
    (("digest",), "resolve", "haulout resolve REF prints the digest of a disk"),
    (("update", "upgrade", "fetch", "download", "get"), "pull", "haulout pull fetches a disk, or what changed in it"),
    (("convert", "export", "save"), "pull", "haulout pull REF --as FORMAT converts while it fetches"),
    (("upload", "publish", "import", "load", "add"), "push", "haulout push REF FILE publishes a disk"),
    (("diff",), "delta", "haulout delta publishes what changed between two versions"),
    (("build",), "cw", "haulout push REF FILE publishes a disk; haulout cw build makes an encrypted image"),
    (("attest", "quote"), "evidence", "haulout evidence verify checks evidence"),
    (("cherry-pick",), "backport", "haulout backport pick picks a fix"),
    (("auth", "signin"), "login", "haulout login HOST stores credentials"),
    (("signout",), "logout", "haulout logout HOST removes credentials"),
    (("help",), "", "haulout --help, or haulout VERB --help"),
    (("version",), "", "haulout --version"),
)
"""Their names, the verb of ours that must be there, and what to say."""

_MACHINE_VERBS: Final = (
    (("ls", "ps"), "list", "haulout machine list"),
    (
        ("create", "new", "add", "launch", "up"),
        "init",
        "haulout machine init NAME REF, then haulout machine start NAME",
    ),
    (("delete", "remove", "destroy", "del", "purge"), "rm", "haulout machine rm NAME, which keeps its data"),
    (("exec", "shell", "run", "attach", "connect"), "ssh", "haulout machine ssh NAME -- COMMAND"),
    (("info", "status", "show"), "inspect", "haulout machine inspect NAME"),
    (("edit", "config", "resize", "modify"), "set", "haulout machine set NAME --memory 4096"),
    (("copy", "scp"), "cp", "haulout machine cp FILE NAME:PATH"),
    (("upgrade", "apply", "switch"), "update", "haulout machine update NAME"),
    (("undo", "revert", "restore"), "rollback", "haulout machine rollback NAME"),
    (("console", "log"), "logs", "haulout machine logs NAME"),
    (("down", "kill", "poweroff", "shutdown", "halt"), "stop", "haulout machine stop NAME"),
    (("reboot", "reset"), "restart", "haulout machine restart NAME"),
    (("monitor", "watch", "history"), "events", "haulout machine events --follow"),
    (("enable", "disable"), "autostart", "haulout machine autostart enable NAME"),
    (("duplicate", "fork"), "clone", "haulout machine clone NAME NEW"),
    (("du", "disk"), "df", "haulout machine df"),
)
"""The same among the verbs of ``haulout machine``."""

_OPTIONS: Final = (
    (("--platform", "--os", "--override-arch", "--architecture"), ("--arch", "--type"), ""),
    (
        ("--tls-verify", "--insecure-skip-tls-verify", "--skip-tls-verify", "-k", "--tls", "--no-tls-verify"),
        ("--insecure", "--plain-http"),
        "",
    ),
    (("--src-tls-verify", "--dest-tls-verify", "--allow-insecure", "--http"), ("--insecure", "--plain-http"), ""),
    (("--format", "--output-format", "--template"), ("--json",), ""),
    (("-v", "--verbose", "--log-level", "-d", "--trace"), ("--debug-http", "--debug"), ""),
    (("-V", "-version"), ("--version",), ""),
    (("-p", "--password"), ("--password-stdin",), ""),
    (("--username", "-U"), ("--user",), ""),
    (("-u", "--user", "--username", "-p", "--password", "--creds"), (), "haulout login HOST"),
    (("--src-creds", "--dest-creds"), (), "haulout login HOST"),
    (("--authfile", "--registry-config", "--config"), (), "the variable REGISTRY_AUTH_FILE"),
    (("--cacert", "--cert-dir", "--src-cert-dir", "--dest-cert-dir", "--ca"), ("--ca-file",), ""),
    (("--concurrency", "--parallel", "--parallelism", "-j", "--threads"), ("--jobs",), ""),
    (("--retry", "--retry-times", "--max-retries", "--tries"), ("--retries",), ""),
    (("--bwlimit", "--rate", "--bandwidth", "--limit"), ("--limit-rate",), ""),
    (("--no-progress", "--silent", "-s"), ("--progress", "--quiet"), ""),
    (("--out", "--output", "--dest", "--destination", "-d"), ("--output",), ""),
    (("--chunk-size", "--blob-chunk"), ("--upload-chunk",), ""),
    (("--connect-timeout", "--max-time", "--command-timeout"), ("--timeout",), ""),
    (("--label", "-a"), ("--annotation",), ""),
    (("--proxy",), (), "the variable HTTPS_PROXY"),
)
"""Their names, those of ours of which at least one must be there, and what else to say."""


def verb_hint(name: str, verbs: Collection[str]) -> str | None:
    """Return what to do in place of a verb that is not ours; None where nothing is known of it."""
    known = _MACHINE_VERBS if "init" in verbs else _VERBS
    said = [text for names, needed, text in known if name.lower() in names and (not needed or needed in verbs)]
    return "; ".join(dict.fromkeys(said[:2])) or None


def option_hint(name: str, options: Collection[str]) -> str | None:
    """Return what to use in place of an option that is not ours.

    Args:
        name: as it was given.
        options: those of the verb.
    """
    for names, ours, text in _OPTIONS:
        there = [one for one in ours if one in options]
        if name in names and (there or not ours):
            return f"use {' or '.join(there) or text}"
    near = get_close_matches(name, [one for one in options if one.startswith("--")], n=1) if len(name) > 2 else []
    return f"did you mean {near[0]}?" if near else None
