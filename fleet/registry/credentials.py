"""Credentials, from where Docker and podman keep them.

Formats: Docker's ``config.json`` (docs.docker.com, "docker login"), the protocol
of github.com/docker/docker-credential-helpers, and containers-auth.json(5).
Files are read and helpers run anew at each question, so that a password that
is rotated while a long run goes on is found.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.errors import CredentialsError
from fleet.models import Credentials
from fleet.registry.addresses import canonical, login_server

_HELPER_SECONDS = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What a helper prints where it has nothing (docker-credential-helpers/credentials/error.go).
_NOTHING_STORED = ("credentials not found", "no credentials server url", "no credentials username")
_TOKEN_USER = "<token>"  # a helper's name for an identity token


@dataclass(frozen=True, kw_only=True)
class Found:
    """Credentials, and where they come from in words that may be printed."""

    credentials: Credentials
    source: str

    def __str__(self) -> str:
        user = self.credentials.username
        return f"{f'user {user!r}' if user else 'an identity token'} from {self.source}"


class CredentialStore:
    """Looks credentials up. Usable from several threads at once.

    ``registry`` is the inventory's: ``FLEET_REGISTRY_USERNAME`` and
    ``FLEET_REGISTRY_PASSWORD`` are meant for it and are shown to no other.
    """

    def __init__(
        self, registry: str | None = None, *, environ: Mapping[str, str] | None = None
    ) -> None:
        self._registry = canonical(registry) if registry else None
        self._environ = os.environ if environ is None else environ

    def for_registry(self, registry: str, repository: str = "") -> Credentials | None:
        """The credentials for a registry, or None where nothing is known.

        ``repository`` matters only to podman's files, which may have different
        ones within a registry. Raises CredentialsError for a broken file or helper.
        """
        found = self.find(registry, repository)
        return found.credentials if found else None

    def find(self, registry: str, repository: str = "") -> Found | None:
        """The same, with their source: the environment, then Docker's file, then podman's."""
        registry = canonical(registry)
        found = self._from_environment() if registry == self._registry else None
        for file in self._files():
            if found is not None:
                break
            config = _read(file)
            if config is not None:
                found = config.find(registry, repository, self._environ)
        return found

    def registries(self) -> tuple[str, ...]:
        """The registries that Docker's and podman's files name. No helper is asked.

        Raises CredentialsError for a broken file.
        """
        found: dict[str, None] = {}
        for config in filter(None, map(_read, self._files())):
            for key in (*config.auths, *config.helpers):
                host = re.sub(r"^[a-z]+://", "", key).partition("/")[0]
                found[canonical(host)] = None
        return tuple(found)

    def _from_environment(self) -> Found | None:
        names = ("FLEET_REGISTRY_USERNAME", "FLEET_REGISTRY_PASSWORD")
        username, password = (self._environ.get(name, "") for name in names)
        if not username and not password:
            return None
        if not username or not password:
            given, lacking = names if username else reversed(names)
            raise CredentialsError(
                f"{given} is set and {lacking} is not", hint="set both of them, or neither"
            )
        credentials = Credentials(username=username, password=password)
        return Found(credentials=credentials, source=names[0])

    def _files(self) -> tuple[Path, ...]:
        home = Path(self._environ.get("HOME") or Path.home())
        docker = self._environ.get("DOCKER_CONFIG")
        podman = self._environ.get("REGISTRY_AUTH_FILE")
        runtime = self._environ.get("XDG_RUNTIME_DIR")
        containers = f"{runtime}/containers" if runtime else f"/run/containers/{os.getuid()}"
        return (
            (Path(docker) if docker else home / ".docker") / "config.json",
            Path(podman) if podman else Path(containers) / "auth.json",
        )


@dataclass(frozen=True, kw_only=True)
class _Config:
    """One file, Docker's or podman's: their formats agree in what is read here."""

    file: Path
    auths: Mapping[str, Any]
    helpers: Mapping[str, Any]  # by registry
    store: str  # the helper for all other registries

    def find(self, registry: str, repository: str, environ: Mapping[str, str]) -> Found | None:
        key = _best_key(self.auths, registry, repository)
        entry = self._entry(key) if key is not None else None
        own = _best_key(self.helpers, registry, repository)
        helper = str(self.helpers[own]) if own is not None else self.store
        if not helper:
            return entry
        command = f"docker-credential-{helper}"
        path = shutil.which(command, path=environ.get("PATH"))
        if not _HELPER_NAME.fullmatch(helper) or path is None:
            # The store for all others is asked even for registries that nobody ever
            # logged in to: its absence matters only to one that the file names.
            if entry is not None or (own is None and key is None):
                return entry
            raise CredentialsError(
                f"{self.file} names the credential helper {command!r} for {registry},"
                " and there is no such command",
                hint=f"install it, or take it out of {self.file} and run"
                f" `docker login {registry}` again",
            )
        credentials = _ask_helper(path, login_server(registry), self.file, environ)
        if credentials is None:
            return entry
        return Found(credentials=credentials, source=f"{command} ({_tilde(self.file)})")

    def _entry(self, key: str) -> Found | None:
        """What ``auths`` itself holds; None for the empty entry that a helper leaves there."""
        entry = self.auths[key]
        place = f"{self.file}: auths[{key!r}]"
        if not isinstance(entry, dict):
            raise CredentialsError(f"{place} is not an object", hint=_LOGIN_AGAIN)
        fields = {name: str(entry.get(name) or "") for name in ("username", "password")}
        if entry.get("auth"):
            try:
                plain = base64.b64decode(str(entry["auth"]), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise CredentialsError(
                    f"{place}.auth is not base64 of text", hint=_LOGIN_AGAIN
                ) from None
            username, colon, password = plain.partition(":")
            if not colon:
                raise CredentialsError(f"{place}.auth has no colon in it", hint=_LOGIN_AGAIN)
            # Old Dockers padded with zero bytes.
            fields = {"username": username, "password": password.rstrip("\0")}
        credentials = Credentials(**fields, identity_token=str(entry.get("identitytoken") or ""))
        if not credentials.identity_token and not credentials.username:
            return None
        return Found(credentials=credentials, source=_tilde(self.file))


_LOGIN_AGAIN = "`docker login` writes it anew"


def _read(file: Path) -> _Config | None:
    """The file, or None where there is none. Raises CredentialsError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CredentialsError(f"{file} cannot be read: {why}") from None
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise CredentialsError(
            f"{file}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}",
            hint="mend it, or move it away and run `docker login` again",
        ) from None
    if not isinstance(config, dict):
        raise CredentialsError(f"{file}:1:1: not a JSON object", hint=_LOGIN_AGAIN)
    parts = {name: config.get(name) or {} for name in ("auths", "credHelpers")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise CredentialsError(f"{file}: {name} is not an object", hint=_LOGIN_AGAIN)
    return _Config(
        file=file,
        auths=parts["auths"],
        helpers=parts["credHelpers"],
        store=str(config.get("credsStore") or ""),
    )


def _best_key(table: Mapping[str, Any], registry: str, repository: str) -> str | None:
    """The key that means a registry, or the longest one that means a part of it.

    Docker writes ``host``, older ones ``https://host/v1/``; podman may write
    ``host/namespace``.
    """
    best: tuple[int, str] | None = None
    for key in table:
        host, _, path = re.sub(r"^https?://", "", key, flags=re.IGNORECASE).partition("/")
        path = re.sub(r"^v[12](/|$)", "", path).strip("/")
        if canonical(host) != registry or not f"{repository}/".startswith(path and f"{path}/"):
            continue
        if best is None or len(path) > best[0]:
            best = (len(path), key)
    return best[1] if best else None


def _ask_helper(
    path: str, server: str, file: Path, environ: Mapping[str, str]
) -> Credentials | None:
    """Run ``docker-credential-NAME get``. What it prints on success is never repeated."""
    name = Path(path).name
    try:
        done = subprocess.run(
            [path, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            env=dict(environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = (
            error.strerror if isinstance(error, OSError) else f"no answer in {_HELPER_SECONDS:g} s"
        )
        raise CredentialsError(f"{name} (named in {file}) did not run: {why}") from None
    if done.returncode != 0:
        said = (done.stdout.strip() or done.stderr.strip()).decode(errors="replace")
        if any(text in said.lower() for text in _NOTHING_STORED):
            return None
        first = said.splitlines()[0][:200] if said else f"status {done.returncode}"
        raise CredentialsError(f"{name} (named in {file}) has no answer for {server}: {first}")
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise CredentialsError(
            f"{name} (named in {file}) answers what is not a credential for {server}"
        ) from None
    if username == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret)


def _tilde(file: Path) -> str:
    home = str(Path.home())
    return f"~{str(file)[len(home) :]}" if str(file).startswith(f"{home}/") else str(file)
