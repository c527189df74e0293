"""A token server for a real registry: distribution's docs/spec/auth/{token,oauth,jwt}.md.

Small, but what it signs is checked by docker-registry itself.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509 import load_pem_x509_certificate

from .servers import PASSWORD, USER, Certificates

IDENTITY = "an-identity-token"
SERVICE = "the tests' registry"
PUBLIC = "public"  # the repository that anybody may read


class TokenServer:
    """Grants Ann everything, and everybody to read ``public``. ``granted`` is what it did."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificate = load_pem_x509_certificate(certificates.cert.read_bytes())
        key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self.granted: list[str] = []
        self.issuer = "the tests"
        self.realm = ""

    def settings(self, certificates: Certificates) -> dict[str, str]:
        """What the registry's configuration says of it."""
        return {
            "realm": self.realm,
            "service": SERVICE,
            "issuer": self.issuer,
            "rootcertbundle": str(certificates.ca),
        }

    def answer(self, form: dict[str, list[str]], authorization: str) -> tuple[int, dict[str, Any]]:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        known = form.get("refresh_token") == [IDENTITY] or authorization == f"Basic {expected}"
        if not known and (authorization or "refresh_token" in form):
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}
        access = []
        for scope in " ".join(form.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            wanted = actions.split(",")
            allowed = wanted if known else [a for a in wanted if (a, name) == ("pull", PUBLIC)]
            access.append({"type": kind, "name": name, "actions": allowed})
        self.granted.append(" ".join(form.get("scope", [""])))
        return 200, {"token": self._token(access), "access_token": self._token(access)}

    def _token(self, access: list[dict[str, Any]]) -> str:
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        now = int(time.time())
        parts = [
            {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]},
            {
                "iss": self.issuer,
                "sub": USER,
                "aud": SERVICE,
                "exp": now + 300,
                "nbf": now - 10,
                "iat": now,
                "jti": str(len(self.granted)),
                "access": access,
            },
        ]
        signed = ".".join(_url64(json.dumps(part).encode()) for part in parts)
        der_signature = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(der_signature)
        return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@contextmanager
def token_server(certificates: Certificates) -> Iterator[TokenServer]:
    """A token server on the loopback, for as long as the context lasts."""
    made = TokenServer(certificates)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(parse_qs(body.decode()))

        def _answer(self, form: dict[str, list[str]]) -> None:
            status, answer = made.answer(form, self.headers.get("Authorization", ""))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.realm = f"http://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
