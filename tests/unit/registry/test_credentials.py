"""Where credentials are found, and what is said where they are broken."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.errors import CredentialsError
from fleet.models import Credentials
from fleet.registry import CredentialStore


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


ANN = Credentials(username="ann", password="secret")


@dataclass
class Home:
    """A home folder with Docker's file, podman's file and helpers that are shell scripts."""

    path: Path

    @property
    def docker_file(self) -> Path:
        return self.path / ".docker" / "config.json"

    def docker(self, config: object) -> Home:
        self.docker_file.parent.mkdir(exist_ok=True)
        self.docker_file.write_text(config if isinstance(config, str) else json.dumps(config))
        return self

    def podman(self, config: object) -> Home:
        file = self.path / "run" / "containers" / "auth.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(config))
        return self

    def helper(self, name: str, script: str) -> Home:
        folder = self.path / "bin"
        folder.mkdir(exist_ok=True)
        file = folder / f"docker-credential-{name}"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return self

    def store(self, registry: str | None = None, **environ: str) -> CredentialStore:
        return CredentialStore(registry, environ=self.environ | environ)

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.path),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "PATH": f"{self.path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("registry.example.org", "registry.example.org"),
        ("registry.example.org:5000", "registry.example.org:5000"),
        ("https://registry.example.org", "registry.example.org"),
        ("https://registry.example.org/v1/", "registry.example.org"),
        ("http://registry.example.org/v2/", "registry.example.org"),
        ("Registry.Example.org", "registry.example.org"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_registry_is_found_under_every_key_that_docker_writes(
    home: Home, key: str, registry: str
) -> None:
    home.docker({"auths": {"other.example.org": auth("bob:no"), key: auth("ann:secret")}})
    assert home.store().for_registry(registry) == ANN


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("ann:secret"), ANN),
        (auth("ann:se:cr:et"), Credentials(username="ann", password="se:cr:et")),
        (auth("ann:gehëim"), Credentials(username="ann", password="gehëim")),
        (auth("ann:secret\0\0"), ANN),
        ({"username": "ann", "password": "secret"}, ANN),
        ({"identitytoken": "id"}, Credentials(identity_token="id")),
        (
            auth("00000000-0000-0000-0000-000000000000:") | {"identitytoken": "id"},
            Credentials(username="00000000-0000-0000-0000-000000000000", identity_token="id"),
        ),
        ({}, None),
    ],
)
def test_every_form_of_an_entry_is_read(
    home: Home, entry: object, expected: Credentials | None
) -> None:
    home.docker({"auths": {"registry.example.org": entry}})
    assert home.store().for_registry("registry.example.org") == expected


def test_nothing_is_known_where_there_is_no_file_at_all(home: Home) -> None:
    assert home.store().for_registry("registry.example.org") is None


def test_a_port_makes_another_registry(home: Home) -> None:
    home.docker({"auths": {"registry.example.org:5000": auth("ann:secret")}})
    assert home.store().for_registry("registry.example.org") is None


def test_docker_config_names_another_folder(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    config = {"auths": {"registry.example.org": auth("ann:secret")}}
    (other / "config.json").write_text(json.dumps(config))
    store = home.store(DOCKER_CONFIG=str(other))
    assert store.for_registry("registry.example.org") == ANN


def test_podmans_file_is_asked_where_dockers_has_nothing(home: Home) -> None:
    home.docker({"auths": {}}).podman({"auths": {"registry.example.org": auth("ann:secret")}})
    assert home.store().for_registry("registry.example.org") == ANN


def test_dockers_file_comes_before_podmans(home: Home) -> None:
    home.docker({"auths": {"registry.example.org": auth("ann:secret")}})
    home.podman({"auths": {"registry.example.org": auth("bob:other")}})
    assert home.store().for_registry("registry.example.org") == ANN


def test_registry_auth_file_names_podmans_file(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"auths": {"registry.example.org": auth("ann:secret")}}))
    store = home.store(REGISTRY_AUTH_FILE=str(file))
    assert store.for_registry("registry.example.org") == ANN


def test_podmans_longest_namespace_wins_and_no_other_repository_gets_its_password(
    home: Home,
) -> None:
    keys = {
        "quay.example.org/ann/private": auth("robot:1"),
        "quay.example.org/ann": auth("ann:secret"),
    }
    store = home.podman({"auths": keys}).store()
    assert store.for_registry("quay.example.org", "ann/hello") == ANN
    robot = store.for_registry("quay.example.org", "ann/private")
    assert robot is not None
    assert robot.username == "robot"
    assert store.for_registry("quay.example.org", "anna/hello") is None
    assert store.for_registry("quay.example.org") is None


# --- the environment ----------------------------------------------------------------------


def test_the_environment_comes_before_the_files_for_the_inventorys_registry_only(
    home: Home,
) -> None:
    home.docker({"auths": {"registry.example.org": auth("bob:x"), "docker.io": auth("cid:x")}})
    store = home.store(
        "registry.example.org", FLEET_REGISTRY_USERNAME="ann", FLEET_REGISTRY_PASSWORD="secret"
    )
    assert store.for_registry("registry.example.org") == ANN
    hub = store.for_registry("docker.io")
    assert hub is not None
    assert hub.username == "cid"


@pytest.mark.parametrize("given", ["FLEET_REGISTRY_USERNAME", "FLEET_REGISTRY_PASSWORD"])
def test_half_of_the_environments_credentials_is_an_error(home: Home, given: str) -> None:
    store = home.store("registry.example.org", **{given: "value"})
    with pytest.raises(CredentialsError, match=f"{given} is set and FLEET_REGISTRY_.* is not"):
        store.for_registry("registry.example.org")


# --- helpers ------------------------------------------------------------------------------

ANSWERS = """read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"ann\\",\
\\"Secret\\":\\"secret\\"}" """


def test_the_store_for_all_registries_is_asked(home: Home) -> None:
    home.docker({"credsStore": "box", "auths": {"registry.example.org": {}}}).helper("box", ANSWERS)
    assert home.store().for_registry("registry.example.org") == ANN


def test_a_registrys_own_helper_comes_before_the_store(home: Home) -> None:
    home.docker({"credsStore": "none", "credHelpers": {"registry.example.org": "box"}})
    home.helper("box", ANSWERS).helper("none", "exit 1")
    assert home.store().for_registry("registry.example.org") == ANN


def test_a_helper_is_asked_for_docker_hub_by_its_login_address(home: Home) -> None:
    home.docker({"credsStore": "box"})
    home.helper("box", 'read s; echo "{\\"Username\\":\\"$s\\",\\"Secret\\":\\"x\\"}"')
    found = home.store().for_registry("docker.io")
    assert found is not None
    assert found.username == "https://index.docker.io/v1/"


def test_a_helper_may_give_an_identity_token(home: Home) -> None:
    home.docker({"credsStore": "box"})
    home.helper("box", """echo '{"Username":"<token>","Secret":"id"}'""")
    found = home.store().for_registry("registry.example.org")
    assert found == Credentials(identity_token="id")


def test_a_helper_that_has_nothing_leaves_it_to_the_entry_and_else_to_nobody(home: Home) -> None:
    home.helper("box", "echo credentials not found in native keychain; exit 1")
    home.docker({"credsStore": "box", "auths": {"registry.example.org": auth("ann:secret")}})
    assert home.store().for_registry("registry.example.org") == ANN
    assert home.store().for_registry("other.example.org") is None


def test_a_missing_helper_does_no_harm_where_the_entry_is_there(home: Home) -> None:
    home.docker({"credsStore": "gone", "auths": {"registry.example.org": auth("ann:secret")}})
    assert home.store().for_registry("registry.example.org") == ANN


def test_a_missing_store_does_no_harm_to_a_registry_that_nobody_logged_in_to(home: Home) -> None:
    home.docker({"credsStore": "gone", "auths": {"other.example.org": {}}})
    assert home.store().for_registry("registry.example.org") is None


@pytest.mark.parametrize(
    "config",
    [
        {"credsStore": "gone", "auths": {"registry.example.org": {}}},
        {"credHelpers": {"registry.example.org": "gone"}},
        {"credHelpers": {"registry.example.org": "../../bin/sh"}},
    ],
)
def test_a_missing_helper_that_has_the_credentials_is_named(home: Home, config: object) -> None:
    home.docker(config)
    with pytest.raises(CredentialsError) as raised:
        home.store().for_registry("registry.example.org")
    assert "docker-credential-" in raised.value.message
    assert str(home.docker_file) in raised.value.message
    assert "docker login registry.example.org" in (raised.value.hint or "")


def test_a_helper_that_fails_is_quoted(home: Home) -> None:
    home.docker({"credsStore": "box"}).helper("box", "echo the keyring is locked; exit 1")
    with pytest.raises(CredentialsError, match=r"docker-credential-box .*the keyring is locked"):
        home.store().for_registry("registry.example.org")


def test_what_a_helper_prints_on_success_is_never_repeated(home: Home) -> None:
    home.docker({"credsStore": "box"}).helper("box", "echo secret")
    with pytest.raises(CredentialsError) as raised:
        home.store().for_registry("registry.example.org")
    assert "secret" not in str(raised.value)


# --- broken files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"auths": {\n  "a": {},\n}}', ":3:1: not valid JSON"),
        ("[]", ":1:1: not a JSON object"),
        ('{"auths": []}', None),
        ('{"auths": ["a"]}', ": auths is not an object"),
        ('{"auths": {"registry.example.org": "x"}}', "is not an object"),
        ('{"auths": {"registry.example.org": {"auth": "%%%"}}}', "is not base64"),
        ('{"auths": {"registry.example.org": {"auth": "YW5u"}}}', "has no colon"),
    ],
)
def test_a_broken_file_is_named_with_the_place(home: Home, text: str, place: str | None) -> None:
    home.docker(text)
    if place is None:
        assert home.store().for_registry("registry.example.org") is None
        return
    with pytest.raises(CredentialsError) as raised:
        home.store().for_registry("registry.example.org")
    assert str(home.docker_file) in raised.value.message
    assert place in raised.value.message


def test_a_file_that_cannot_be_read_is_named(home: Home) -> None:
    home.docker_file.mkdir(parents=True)  # a folder: root may read every file
    with pytest.raises(CredentialsError, match=r"config\.json cannot be read"):
        home.store().for_registry("registry.example.org")


def test_an_empty_file_holds_nothing(home: Home) -> None:
    assert home.docker("").store().for_registry("registry.example.org") is None


def test_where_credentials_come_from_is_said_without_them(home: Home) -> None:
    home.docker({"credsStore": "box"}).helper("box", ANSWERS)
    found = home.store().find("registry.example.org")
    assert str(found).startswith("user 'ann' from docker-credential-box (")
    assert "secret" not in repr(found) + str(found)


def test_the_registries_that_somebody_logged_in_to_are_known_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"auths": {"ghcr.io": {"auth": "c2VjcmV0OnNlY3JldA=="}, "https://index.docker.io/v1/": {},'
        ' "registry.lan:5000/team": {}}, "credHelpers": {"1.dkr.ecr.example": "ecr-login"}}'
    )
    store = CredentialStore(environ={"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})
    assert store.registries() == ("ghcr.io", "docker.io", "registry.lan:5000", "1.dkr.ecr.example")
