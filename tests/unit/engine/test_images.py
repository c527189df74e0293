from __future__ import annotations

from fleet.engine import images
from fleet.models import Credentials
from fleet.references import Reference


def test_nothing_secret_is_left_in_a_message() -> None:
    secret = Credentials(username="me", password="pa55w0rd", identity_token="t0ken")
    message = "bad pa55w0rd, bad t0ken, header Basic bWU6cGE1NXcwcmQ="
    assert images.scrub(message, secret) == "bad ***, bad ***, header Basic ***"
    assert images.scrub(message, None) == message
    assert images.scrub("as it is", Credentials(username="me")) == "as it is"


def test_docker_hub_is_told_its_own_old_name() -> None:
    secret = Credentials(username="me", password="pa55w0rd")
    hub = images._auth(Reference.parse("debian"), secret)
    assert hub["serveraddress"] == "https://index.docker.io/v1/"
    other = images._auth(Reference.parse("registry.example.org/x"), secret)
    assert other["serveraddress"] == "registry.example.org"
    assert images._auth(Reference.parse("debian"), None) == {}


def test_an_identity_token_goes_in_place_of_a_password() -> None:
    secret = Credentials(username="<token>", identity_token="t0ken")
    auth = images._auth(Reference.parse("registry.example.org/x"), secret)
    assert auth == {"identitytoken": "t0ken", "serveraddress": "registry.example.org"}


def test_the_digest_of_a_push_is_found_in_either_form() -> None:
    digest = "sha256:" + "a" * 64
    assert images._digest({"aux": {"Tag": "1", "Digest": digest, "Size": 1}}) == digest
    assert images._digest({"status": f"1: digest: {digest} size: 528"}) == digest
    assert images._digest({"status": "Pushed", "id": "abc"}) is None


def test_names_at_the_end_of_a_tunnel_are_known() -> None:
    names = ["127.0.0.1:4711/x", "localhost:5000/x", "[::1]:5000/x"]
    assert all(images.tunnelled(Reference.parse(name)) for name in names)
    assert not images.tunnelled(Reference.parse("127.0.0.1.example.org/x"))
