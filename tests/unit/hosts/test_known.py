"""Whose key is this? What known_hosts says."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from fleet.errors import HostError, HostKeyChanged, HostKeyUnknown
from fleet.hosts.config import Destination
from fleet.hosts.known import KnownHosts, fingerprint

KEY, OTHER = b"\0\0\0\x0bssh-ed25519 one", b"\0\0\0\x0bssh-ed25519 two"


def line(hosts: str, key: bytes = KEY, kind: str = "ssh-ed25519") -> str:
    return f"{hosts} {kind} {base64.b64encode(key).decode()}"


def hashed(name: str) -> str:
    salt = bytes(range(20))
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|".join(["", "1", *(base64.b64encode(part).decode() for part in (salt, digest))])


def known(
    tmp_path: Path,
    *lines: str,
    host: str = "Pi.example.net",
    port: int = 22,
    alias: str | None = None,
) -> KnownHosts:
    file = tmp_path / "known_hosts"
    file.write_text("\n".join(lines) + "\n")
    where = Destination(
        alias="pi",
        host=host,
        port=port,
        user="pi",
        identities=(),
        only_identities=False,
        agent=None,
        known_hosts=(tmp_path / "missing", file),
        key_alias=alias,
        connect_timeout=1,
    )
    return KnownHosts("pi-1", where)


@pytest.mark.parametrize(
    "hosts",
    [
        "pi.example.net",
        "PI.example.NET",
        "other,pi.example.net",
        "*.example.net",
        "pi.exampl?.net",
        "*,!other",
        hashed("pi.example.net"),
    ],
)
def test_names_patterns_and_hashes_are_known(tmp_path: Path, hosts: str) -> None:
    known(tmp_path, line(hosts)).check("ssh-ed25519", KEY)


@pytest.mark.parametrize(
    "hosts",
    [
        "pi",
        "xpi.example.net",
        "*,!pi.example.net",
        "!pi.example.net,*",
        "pi.[a-z]*.net",
        hashed("pi"),
        "|1|nonsense",
        "[pi.example.net]:2222",
    ],
)
def test_other_names_are_not(tmp_path: Path, hosts: str) -> None:
    with pytest.raises(HostKeyUnknown):
        known(tmp_path, line(hosts)).check("ssh-ed25519", KEY)


def test_a_port_is_part_of_the_name(tmp_path: Path) -> None:
    known(tmp_path, line("[pi.example.net]:2222"), port=2222).check("ssh-ed25519", KEY)
    known(tmp_path, line(hashed("[pi.example.net]:2222")), port=2222).check("ssh-ed25519", KEY)


def test_a_key_known_without_a_port_is_good_at_any(tmp_path: Path) -> None:
    found = known(tmp_path, line("pi.example.net"), port=2222)
    found.check("ssh-ed25519", KEY)
    assert found.kinds() == {"ssh-ed25519"}
    with pytest.raises(HostKeyUnknown):
        found.check("ssh-ed25519", OTHER)


def test_an_alias_is_the_name_whatever_the_port(tmp_path: Path) -> None:
    known(tmp_path, line("board"), port=2222, alias="board").check("ssh-ed25519", KEY)


def test_one_of_several_known_keys_is_enough(tmp_path: Path) -> None:
    both = line("pi.example.net", OTHER), line("pi.example.net", KEY)
    known(tmp_path, *both).check("ssh-ed25519", KEY)


def test_an_unknown_key_says_how_to_compare_and_accept_it(tmp_path: Path) -> None:
    with pytest.raises(HostKeyUnknown) as caught:
        known(tmp_path, "").check("ssh-ed25519", KEY)
    assert fingerprint(KEY) in caught.value.message
    hint = str(caught.value.hint)
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in hint
    assert "ssh-keyscan -p 22 Pi.example.net >>" in hint


def test_a_changed_key_names_the_line_that_knows_another(tmp_path: Path) -> None:
    with pytest.raises(HostKeyChanged, match="known_hosts:3 knows it by") as caught:
        known(tmp_path, "# comment", "", line("pi.example.net", OTHER)).check("ssh-ed25519", KEY)
    assert fingerprint(OTHER) in caught.value.message
    assert "ssh-keygen -R 'pi.example.net'" in str(caught.value.hint)


def test_a_key_of_another_kind_than_the_known_one_is_a_change(tmp_path: Path) -> None:
    found = known(tmp_path, line("pi.example.net", OTHER, "ssh-rsa"))
    assert found.kinds() == {"ssh-rsa"}
    with pytest.raises(HostKeyChanged, match="ssh-rsa"):
        found.check("ssh-ed25519", KEY)


def test_a_revoked_key_is_refused_although_it_is_known(tmp_path: Path) -> None:
    lines = line("pi.example.net"), f"@revoked {line('*')}"
    with pytest.raises(HostKeyChanged, match="known_hosts:2 marks as @revoked"):
        known(tmp_path, *lines).check("ssh-ed25519", KEY)
    known(tmp_path, line("pi.example.net"), f"@revoked {line('*', OTHER)}").check(
        "ssh-ed25519", KEY
    )


def test_an_authority_vouches_for_nothing_and_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostKeyUnknown, match="known_hosts:1 trusts an authority"):
        known(tmp_path, f"@cert-authority {line('*.example.net')}").check("ssh-ed25519", KEY)


def test_lines_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    nonsense = "one", "one two", "pi.example.net ssh-ed25519 %%%", "@strange a b c", "\udcff x y"
    file = [text.encode(errors="replace").decode() for text in nonsense]
    known(tmp_path, *file, line("pi.example.net")).check("ssh-ed25519", KEY)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "missing").mkdir()
    with pytest.raises(HostError, match="missing cannot be read: Is a directory"):
        known(tmp_path, "")


def test_fingerprints_look_as_those_of_openssh() -> None:
    assert fingerprint(b"") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


# --- the keys that `up` printed -----------------------------------------------------------


def told(tmp_path: Path, *keys: str) -> KnownHosts:
    """A rented host, at an address where known_hosts has another machine's key."""
    file = tmp_path / "known_hosts"
    file.write_text(line("10.0.0.7", OTHER) + "\n")
    where = Destination(
        alias="10.0.0.7",
        host="10.0.0.7",
        port=22,
        user="root",
        identities=(),
        only_identities=False,
        agent=None,
        known_hosts=(file,),
        key_alias=None,
        connect_timeout=1,
        host_keys=keys,
    )
    return KnownHosts("rock-1", where)


def test_a_key_that_up_printed_is_the_only_one_that_counts(tmp_path: Path) -> None:
    mine = line("", KEY).strip()
    told(tmp_path, mine).check("ssh-ed25519", KEY)
    assert told(tmp_path, mine).kinds() == {"ssh-ed25519"}
    with pytest.raises(HostKeyChanged, match="none of the keys that its `up` printed"):
        told(tmp_path, mine).check("ssh-ed25519", OTHER)  # though known_hosts has it


def test_without_one_known_hosts_decides_as_for_every_host(tmp_path: Path) -> None:
    with pytest.raises(HostKeyChanged, match="known_hosts:1 knows it by"):
        told(tmp_path).check("ssh-ed25519", KEY)
