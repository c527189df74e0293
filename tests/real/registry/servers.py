"""Debian's docker-registry as a test wants it: open, with passwords, with TLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from fleet.references import Reference
from tests.needs import need
from tests.unit.registry.content import Document, sha

USER, PASSWORD = "ann", "correct horse"
_DEADLINE = 30.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {_DEADLINE:g} s: {what}"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """An authority of our own, and a certificate for 127.0.0.1 that it signed."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        openssl = need("openssl", "openssl")
        files = cls(ca=folder / "ca.crt", cert=folder / "server.crt", key=folder / "server.key")

        def run(*arguments: object) -> None:
            subprocess.run(
                [openssl, *map(str, arguments)], check=True, capture_output=True, timeout=60
            )

        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        run("req", "-x509", *curve, "-days", 2, "-subj", "/CN=our own authority",
            "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", folder / "ca.key", "-out", files.ca)  # fmt: skip
        run("req", *curve, "-subj", "/CN=127.0.0.1",
            "-keyout", files.key, "-out", folder / "server.csr")  # fmt: skip
        (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        run("x509", "-req", "-in", folder / "server.csr", "-CA", files.ca, "-CAkey",
            folder / "ca.key", "-CAcreateserial", "-days", 2,
            "-extfile", folder / "extensions", "-out", files.cert)  # fmt: skip
        return files


@dataclass(kw_only=True)
class Server:
    """One registry on a port of its own."""

    folder: Path
    tls: Certificates | None = None
    passwords: bool = False
    token: dict[str, str] | None = None
    mirror_of: str | None = None  # an address: this is a pull-through cache of it
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def repository(self, name: str = "hello") -> Reference:
        return Reference.parse(f"{self.address}/{name}")

    def start(self) -> Server:
        program = need("docker-registry", "docker-registry")
        http: dict[str, Any] = {"addr": self.address, "secret": "for tests"}
        if self.tls is not None:
            http["tls"] = {"certificate": str(self.tls.cert), "key": str(self.tls.key)}
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.folder / "data")},
                "delete": {"enabled": True},
            },
            "http": http,
        }
        if self.mirror_of is not None:
            config["proxy"] = {"remoteurl": f"http://{self.mirror_of}"}
        if self.passwords:
            config["auth"] = {"htpasswd": {"realm": "here", "path": str(self._htpasswd())}}
        if self.token is not None:
            config["auth"] = {"token": self.token}
        file = self.folder / "config.yml"
        file.write_text(json.dumps(config))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "serve", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(lambda: listens(self.port) or self._ended(), "the registry listens")
        assert not self._ended(), (self.folder / "log").read_text()
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=_DEADLINE)

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _htpasswd(self) -> Path:
        htpasswd = need("htpasswd", "apache2-utils")
        file = self.folder / "htpasswd"
        subprocess.run(
            [htpasswd, "-cbB", str(file), USER, PASSWORD], check=True, capture_output=True
        )
        return file

    # --- content, pushed as an engine would -----------------------------------------------

    def push(
        self, document: Document, tag: str | None = None, *, repository: str = "hello", **more: Any
    ) -> Document:
        """Upload a manifest with its blobs. ``more`` goes to httpx (``auth``, ``headers``)."""
        scheme = "http"
        if self.tls is not None:
            scheme = "https"
            more["verify"] = ssl.create_default_context(cafile=str(self.tls.ca))
        if self.passwords:
            more.setdefault("auth", (USER, PASSWORD))
        more.setdefault("timeout", 60)
        base = f"{scheme}://{self.address}/v2/{repository}"
        with httpx.Client(trust_env=False, **more) as client:
            for blob in document.blobs:
                begun = client.post(f"{base}/blobs/uploads/").raise_for_status()
                where = httpx.URL(begun.headers["location"]).copy_add_param("digest", sha(blob))
                client.put(where, content=blob).raise_for_status()
            client.put(
                f"{base}/manifests/{tag or document.digest}",
                content=document.body,
                headers={"Content-Type": document.media_type},
            ).raise_for_status()
        return document


def clean_environment() -> dict[str, str]:
    """This environment without what would lead to anybody's credentials."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "REGISTRY_"))}
