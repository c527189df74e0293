"""An engine that has everything of a build but the work: for many hosts on one computer.

What fleet asks of an engine over SSH is answered as Docker answers it: the detached ``docker
buildx build``, and the Engine API behind ``docker system dial-stdio``. A build sleeps, prints
the lines of one, and makes a real image of one small layer with a real executable in it, on
the layers of what its Dockerfile names; it is pushed by the registry's own protocol, and what
is pulled comes from there. One process is the engine of all hosts, and keeps images in memory.

    python -m bench.builder FOLDER

prints its port once it listens. It ends with its standard input.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench import stubs
from fleet.hosts.proof import executable
from fleet.platforms import Platform

CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
PROGRAM = "/app"
LINES = 40  # that a build prints, half of them before it sleeps

# In bash, since it opens connections by itself: a process for each is what the host pays.
_DIAL = """\
#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
cat <&3 &
cat >&3
kill $!
"""
_BUILD = """\
#!/bin/bash
LC_ALL=C
lines() {{ for ((n = $1; n <= $2; n++)); do echo "#$n [$n/{lines}] RUN make -j4 module-$n"; done; }}
lines 1 {half}
sleep {seconds}
lines $(({half} + 1)) {lines}
printf -v order '%s\\n' "$PWD" "$@"
exec 3<>/dev/tcp/127.0.0.1/{port}
printf 'POST /ordered HTTP/1.1\\r\\nConnection: close\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \
"${{#order}}" "$order" >&3
read -r version status rest <&3
while read -r line && [ "$line" != $'\\r' ]; do :; done <&3
read -r answer <&3
[ "$status" = 200 ] || {{ echo "$answer" >&2; exit 1; }}
"""


@contextmanager
def engine(seconds: float) -> Iterator[Path]:
    """A folder with such a docker, to be put before the PATH; a build takes so many seconds."""
    with tempfile.TemporaryDirectory(prefix="fleet-builder-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        argv = [sys.executable, "-m", "bench.builder", str(folder)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            half = LINES // 2
            scripts = {
                "dial": _DIAL.format(port=port),
                "build": _BUILD.format(port=port, lines=LINES, half=half, seconds=seconds),
                "docker": stubs.script(
                    {
                        "system": f'exec bash "{folder}/dial"',
                        # image inspect --format '{{.Id}}' NAME
                        "image": f'exec cat "{folder}/images/${{5##*/}}"',
                        "buildx": '[ "$2" = version ] || {\n'
                        f'    shift 2\n    exec bash "{folder}/build" "$@"\n}}\n{stubs.BUILDX}',
                    }
                ),
            }
            for script, text in scripts.items():
                (folder / script).write_text(text)
                (folder / script).chmod(0o755)
            yield folder
            process.stdin.close()  # type: ignore[union-attr]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: its configuration, and its layers as they are pushed."""

    config: bytes
    layers: tuple[bytes, ...]

    @property
    def id(self) -> str:
        """As Docker's own store has it: the configuration's digest."""
        return digest(self.config)

    def inspected(self) -> dict[str, Any]:
        """What the engine says of it."""
        told = json.loads(self.config)
        return {
            "Id": self.id,
            "Os": told["os"],
            "Architecture": told["architecture"],
            "Variant": told.get("variant", ""),
            "Created": told["created"],
            "Config": told["config"],
        }


class Images:
    """All images of all hosts, by their ids and names. Usable from several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images: dict[str, Image] = {}
        self._names: dict[str, str] = {}

    def get(self, name: str) -> Image | None:
        """An image by id or name."""
        return self._images.get(self._names.get(name, name))

    def name(self, image: Image, name: str) -> None:
        """Give an image a name."""
        self._images[image.id] = image
        self._names[name] = image.id

    def drop(self, name: str) -> bool:
        """Take a name away; whether there was one."""
        return self._names.pop(name, None) is not None

    def build(self, order: list[str]) -> Image:
        """Make the image of an order: the folder, and the arguments of ``docker buildx build``."""
        folder, *argv = order
        given = [word.partition("=")[::2] for word in argv if word.startswith("--")]
        options = dict(given)
        platform = Platform.parse(options["--platform"])
        labels = dict(value.partition("=")[::2] for name, value in given if name == "--label")
        words = re.search(r"(?m)^FROM (\S+)", (Path(folder) / "Dockerfile").read_text())
        base = None if words is None or words[1] == "scratch" else self.get(words[1])
        if base is None and words is not None and words[1] != "scratch":
            raise LookupError(f"there is no {words[1]}")
        tag = options["--tag"]
        tar = _layer(tag, platform)
        below = json.loads(base.config)["rootfs"]["diff_ids"] if base else []
        config = {
            "os": platform.os,
            "architecture": platform.architecture,
            **({"variant": platform.variant} if platform.variant else {}),
            "created": "2026-11-24T02:30:00Z",
            "config": {"Labels": labels, "Entrypoint": [PROGRAM]},
            "rootfs": {"type": "layers", "diff_ids": [*below, digest(tar)]},
        }
        layer = gzip.compress(tar, compresslevel=1, mtime=0)
        image = Image(
            config=json.dumps(config).encode(), layers=(*(base.layers if base else ()), layer)
        )
        self.name(image, tag)
        (Path(folder) / "iid").write_text(image.id)
        (self._folder / "images" / tag.rpartition("/")[2]).write_text(f"{image.id}\n")
        return image


def digest(content: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _layer(name: str, platform: Platform) -> bytes:
    program = executable(platform)
    assert program is not None, platform
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in ((PROGRAM, program), (f"/built/{name}", name.encode())):
            member = tarfile.TarInfo(path[1:])
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


# --- the registry's protocol, as an engine speaks it ----------------------------------------


def push(image: Image, registry: str, repository: str, tag: str) -> tuple[str, int]:
    """Push an image; the digest and the size of its manifest."""
    _ask(http.client.HTTPConnection(registry), "GET", "/v2/", 200)  # on a connection of its own
    wire = http.client.HTTPConnection(registry)
    for blob in (*image.layers, image.config):
        if _ask(wire, "HEAD", f"/v2/{repository}/blobs/{digest(blob)}", 200, 404)[0] == 200:
            continue
        begun = _ask(wire, "POST", f"/v2/{repository}/blobs/uploads/", 202)[1]["location"]
        there = _ask(wire, "PATCH", _local(begun), 202, body=blob)[1]["location"]
        joint = "&" if "?" in there else "?"
        _ask(wire, "PUT", f"{_local(there)}{joint}digest={digest(blob)}", 201)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(CONFIG, image.config),
            "layers": [_described(LAYER, layer) for layer in image.layers],
        }
    ).encode()
    _ask(wire, "PUT", f"/v2/{repository}/manifests/{tag}", 201, body=manifest, kind=MANIFEST)
    wire.close()
    return digest(manifest), len(manifest)


def pull(registry: str, repository: str, selector: str) -> Image:
    """Pull an image."""
    wire = http.client.HTTPConnection(registry)
    manifest = json.loads(
        _ask(wire, "GET", f"/v2/{repository}/manifests/{selector}", 200, kind=MANIFEST)[2]
    )
    config, *layers = (
        _ask(wire, "GET", f"/v2/{repository}/blobs/{part['digest']}", 200)[2]
        for part in (manifest["config"], *manifest["layers"])
    )
    wire.close()
    return Image(config=config, layers=tuple(layers))


def _described(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}


def _local(location: str) -> str:
    """A location without the host, which is the registry's own idea of it."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _ask(
    wire: http.client.HTTPConnection,
    method: str,
    path: str,
    *wanted: int,
    body: bytes | None = None,
    kind: str = "application/octet-stream",
) -> tuple[int, Mapping[str, str], bytes]:
    wire.request(method, path, body=body, headers={"Content-Type": kind, "Accept": kind})
    answer = wire.getresponse()
    said = answer.read()
    if answer.status not in wanted:
        raise OSError(f"{method} {path}: {answer.status} {said[:200]!r}")
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, said


# --- the Engine API --------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One connection of ``dial-stdio``, or one order of a build."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one packet
    images: Images
    containers: dict[str, Image]
    lock: threading.Lock

    def do_GET(self) -> None:
        """Look at something."""
        path, asked = self._asked()
        if path == "/_ping":
            self._say(200, b"OK", kind="text/plain")
        elif path in ("/images/json", "/containers/json"):
            self._tell([])  # every host is new, and whoever tries an image removes its container
        elif found := re.fullmatch(r"/images/(.+)/json", path):
            image = self.images.get(found[1])
            if image is None:
                self._refuse(404, f"No such image: {found[1]}")
            else:
                self._tell(image.inspected())
        elif found := re.fullmatch(r"/containers/(.+)/archive", path):
            self._archive(self.containers[found[1]], asked["path"])
        else:
            self._refuse(501, f"a stub has no {path}")

    def do_POST(self) -> None:
        """Make something."""
        path, asked = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/ordered":
            try:
                self._say(200, self.images.build(body.decode().splitlines()).id.encode() + b"\n")
            except LookupError as error:
                self._say(500, f"{error}\n".encode())
        elif path == "/containers/create":
            image = self.images.get(json.loads(body)["Image"])
            if image is None:
                self._refuse(404, "No such image")
                return
            with self.lock:
                id = f"{len(self.containers):064x}"
                self.containers[id] = image
            self._tell({"Id": id, "Warnings": []}, 201)
        elif path == "/images/create":
            name = asked["fromImage"]
            joint = "@" if asked["tag"].startswith("sha256:") else ":"
            self._stream(self._pulled, name, asked["tag"], joint)
        elif found := re.fullmatch(r"/images/(.+)/tag", path):
            image = self.images.get(found[1])
            assert image is not None, found[1]
            self.images.name(image, f"{asked['repo']}:{asked['tag']}")
            self._say(201, b"")
        elif found := re.fullmatch(r"/images/(.+)/push", path):
            self._stream(self._pushed, found[1], asked["tag"])
        else:
            self._refuse(501, f"a stub has no {path}")

    def do_DELETE(self) -> None:
        """Remove something."""
        path, _ = self._asked()
        if path.startswith("/containers/"):
            self._say(204, b"")
        elif self.images.drop(path.removeprefix("/images/")):
            self._tell([])
        else:
            self._refuse(404, "No such image")

    def _pulled(self, name: str, selector: str, joint: str) -> Iterator[dict[str, object]]:
        registry, _, repository = name.partition("/")
        yield {"status": f"Pulling from {repository}", "id": selector}
        self.images.name(pull(registry, repository, selector), f"{name}{joint}{selector}")
        yield {"status": f"Status: Downloaded newer image for {name}"}

    def _pushed(self, name: str, tag: str) -> Iterator[dict[str, object]]:
        registry, _, repository = name.partition("/")
        image = self.images.get(f"{name}:{tag}")
        assert image is not None, name
        yield {"status": f"The push refers to repository [{name}]"}
        yield {"status": "Preparing", "progressDetail": {}, "id": image.id[7:19]}
        made, size = push(image, registry, repository, tag)
        yield {"status": "Pushed", "progressDetail": {}, "id": image.id[7:19]}
        yield {"status": f"{tag}: digest: {made} size: {size}"}
        yield {"progressDetail": {}, "aux": {"Tag": tag, "Digest": made, "Size": size}}

    def _archive(self, image: Image, path: str) -> None:
        with tarfile.open(fileobj=io.BytesIO(image.layers[-1]), mode="r:gz") as tar:
            try:
                member = tar.getmember(path.lstrip("/"))
            except KeyError:
                self._refuse(404, f"Could not find the file {path}")
                return
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as answer:
            answer.addfile(member, io.BytesIO(content))
        stat = {"name": member.name, "size": member.size, "mode": member.mode, "linkTarget": ""}
        told = base64.b64encode(json.dumps(stat).encode()).decode()
        self._say(
            200,
            out.getvalue(),
            kind="application/x-tar",
            more={"X-Docker-Container-Path-Stat": told},
        )

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        path = re.sub(r"^/v1\.\d+", "", unquote(parts.path))
        return path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _stream(self, entries: Any, *of: str) -> None:
        """Progress, an entry a chunk, as it comes. A failure has status 200, too."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for entry in entries(*of):
                self._chunk(json.dumps(entry).encode() + b"\r\n")
        except OSError as error:
            failed = {"error": str(error), "errorDetail": {"message": str(error)}}
            self._chunk(json.dumps(failed).encode() + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _tell(self, answer: object, status: int = 200) -> None:
        self._say(status, json.dumps(answer).encode(), kind="application/json")

    def _refuse(self, status: int, message: str) -> None:
        self._tell({"message": message}, status)

    def _say(
        self,
        status: int,
        body: bytes,
        kind: str = "text/plain",
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that hung up: it comes again."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main() -> None:
    """Serve until standard input ends."""
    Handler.images = Images(Path(sys.argv[1]))
    Handler.containers, Handler.lock = {}, threading.Lock()
    with _Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
