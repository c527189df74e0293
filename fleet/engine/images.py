"""Images on a host: pull by digest, push, run once. Docker SDK inside: import it late."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

import docker
import docker.errors

from fleet.engine.diagnosis import disk_full, full
from fleet.engine.logs import OnLines
from fleet.engine.transience import may_pass, remedy
from fleet.engine.transport import EngineApi, message_of, said
from fleet.errors import EngineError, PullFailed, PushFailed
from fleet.models import Credentials
from fleet.platforms import Platform
from fleet.references import DOCKER_HUB, Reference

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
# What a registry says of an image that it has not, or does not show to just anybody.
_ANSWERED = re.compile(r"(?i)manifest unknown|name unknown|not known|not found|denied|unauthorized")
_LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?")


def pull(
    engine: EngineApi,
    reference: Reference,
    platform: Platform,
    credentials: Credentials | None,
) -> None:
    """Have an image on the host. Nothing travels where its digest is there already; a tag may
    have moved, and is asked for each time.
    """
    with engine.session() as api:
        image = inspect(api, str(reference)) if reference.digest else None
        if image is None:
            try:
                entries = api.pull(
                    reference.name,
                    tag=reference.selector,
                    stream=True,
                    decode=True,
                    auth_config=_auth(reference, credentials),
                    platform=str(platform),
                )
                failure = _failure(entries)
            except docker.errors.APIError as error:
                failure = said(error)
            if failure is not None and full(failure):
                raise disk_full(engine.host, failure)
            if failure is not None:
                raise PullFailed(
                    engine.host,
                    f"cannot pull {reference}: {scrub(failure, credentials)}",
                    transient=may_pass(failure),
                )
            image = inspect(api, str(reference))
            if image is None:
                raise EngineError(engine.host, f"pulled {reference}, but the daemon has it not")
        found = platform_of(image)
        if found != platform:
            raise PullFailed(
                engine.host, f"{reference} is an image for {found}, not {platform}", transient=False
            )


def push(
    engine: EngineApi,
    image: str,
    reference: Reference,
    credentials: Credentials | None,
    on_lines: OnLines,
) -> str:
    """Push an image under a tag; the digest of its manifest as the engine reports it.

    A tag at the end of a tunnel means nothing once the tunnel is closed, so it is
    taken away again.
    """
    tag = reference.tag or "latest"
    name = f"{reference.name}:{tag}"
    digest = None
    failure = None
    with engine.session() as api:
        api.tag(image, reference.name, tag=tag)
        try:
            # An empty configuration, not none: without one the SDK looks for credentials on the
            # controller, and Docker 28.3.3 wants the header.
            for entry in api.push(
                reference.name,
                tag=tag,
                stream=True,
                decode=True,
                auth_config=_auth(reference, credentials),
            ):
                failure = failure or message_of(entry)
                line = _line(entry)
                if line:
                    on_lines(scrub(line, credentials))
                digest = _digest(entry) or digest
        except docker.errors.APIError as error:
            failure = said(error)
        if tunnelled(reference):
            untag(api, name)
    if failure is not None and full(failure):
        raise disk_full(engine.host, scrub(failure, credentials))
    if failure is not None:
        raise PushFailed(
            engine.host,
            f"cannot push {name}: {scrub(failure, credentials)}",
            transient=may_pass(failure),
            hint=remedy(failure),
        )
    if digest is None:
        raise EngineError(engine.host, f"pushed {name}, but the daemon named no digest of it")
    return digest


def reach(engine: EngineApi, reference: Reference, credentials: Credentials | None) -> None:
    """See that the engine reaches the registry of a reference: any answer of it is one.

    Nothing is pulled. Raises PullFailed with the engine's own words.
    """
    with engine.session() as api:
        try:
            auth = _auth(reference, credentials)
            cast(Any, api).inspect_distribution(str(reference), auth_config=auth)
        except docker.errors.APIError as error:
            failure = said(error)
            if not _ANSWERED.search(failure):
                raise PullFailed(
                    engine.host,
                    f"its engine does not reach {reference.registry}:"
                    f" {scrub(failure, credentials)}",
                    transient=may_pass(failure),
                    hint=remedy(failure),
                ) from None


def tunnelled(reference: Reference) -> bool:
    """Whether a name is good only for as long as a tunnel is open."""
    return _LOOPBACK.fullmatch(reference.registry) is not None


def drop(engine: EngineApi, name: str) -> None:
    """Take a name from an image, as an operation of its own."""
    with engine.session() as api:
        untag(api, name)


def untag(api: docker.APIClient, name: str) -> None:
    """Take a name from an image. What has no other name goes with it, its layers' cache stays."""
    with suppress(docker.errors.ImageNotFound):  # somebody else was faster
        api.remove_image(name, noprune=True)


def platform_of(image: Mapping[str, Any]) -> Platform:
    """The platform in an image's configuration."""
    return Platform.of(image["Os"], image["Architecture"], image.get("Variant"))


def scrub(message: str, credentials: Credentials | None) -> str:
    """A message without anything secret, whoever put it in."""
    if credentials is None:
        return message
    pair = f"{credentials.username}:{credentials.password}".encode()
    secrets = (
        credentials.password,
        credentials.identity_token,
        base64.b64encode(pair).decode() if credentials.password else "",
    )
    for secret in filter(None, secrets):
        message = message.replace(secret, "***")
    return message


def inspect(api: docker.APIClient, name: str) -> Mapping[str, Any] | None:
    """What the engine knows of an image, by name, digest or id; None where it has none."""
    try:
        return cast(Mapping[str, Any], cast(Any, api).inspect_image(name))
    except docker.errors.ImageNotFound:
        return None


def _auth(reference: Reference, credentials: Credentials | None) -> dict[str, str]:
    """The authorisation of one request (``X-Registry-Auth``)."""
    if credentials is None:
        return {}
    hub = reference.registry == DOCKER_HUB
    server = "https://index.docker.io/v1/" if hub else reference.registry
    if credentials.identity_token:
        return {"identitytoken": credentials.identity_token, "serveraddress": server}
    return {
        "username": credentials.username,
        "password": credentials.password,
        "serveraddress": server,
    }


def _failure(entries: Iterable[Mapping[str, Any]]) -> str | None:
    """Read a progress stream to its end; its error, if it has one."""
    failure = None
    for entry in entries:
        failure = failure or message_of(entry)
    return failure


def _line(entry: Mapping[str, Any]) -> str | None:
    """What people want to read of a push: what happens to a layer, not how many bytes of it."""
    status = str(entry.get("status", ""))
    if not status or entry.get("progressDetail"):
        return None
    return f"{entry['id']}: {status}" if "id" in entry else status


def _digest(entry: Mapping[str, Any]) -> str | None:
    aux = entry.get("aux") or {}
    if "Digest" in aux:
        return str(aux["Digest"])
    match = _DIGEST.search(str(entry.get("status", "")))
    return match[1] if match else None
