"""Where a host is, by inventory and ssh_config, as ssh itself would say."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.hosts.config import Destination, aliases, destination
from fleet.models import HostSpec


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def where(text: str, home: Path, **spec: object) -> Destination:
    config = home / "config"
    config.write_text(text)
    return destination(HostSpec(**{"name": "pi-1", "address": "pi", **spec}), ssh_config=config)  # type: ignore[arg-type]


def test_without_any_configuration_the_address_is_the_host(home: Path) -> None:
    found = where("", home)
    assert (found.host, found.port, found.user) == ("pi", 22, getpass.getuser())
    assert found.identities == ()
    assert found.known_hosts[0] == home / ".ssh" / "known_hosts"
    assert (found.jumps, found.proxy_command, found.agent) == ((), None, None)


def test_an_inventory_entry_without_an_address_is_its_own_alias(home: Path) -> None:
    assert where("Host pi-1\n HostName 10.0.0.12", home, address="").host == "10.0.0.12"


def test_an_alias_brings_everything_that_ssh_config_says(home: Path) -> None:
    found = where(
        """
        Host pi
          HostName 10.0.0.12
          User pi
          Port 2222
          IdentityFile ~/.ssh/one
          IdentityFile %d/two
          IdentitiesOnly yes
          HostKeyAlias board
          ConnectTimeout 3
          IdentityAgent ~/agent.sock
        """,
        home,
    )
    assert (found.host, found.port, found.user) == ("10.0.0.12", 2222, "pi")
    assert found.identities == (home / ".ssh" / "one", home / "two")
    assert found.only_identities
    assert found.key_alias == "board"
    assert found.connect_timeout == 3
    assert found.agent == str(home / "agent.sock")


def test_the_inventory_comes_before_ssh_config(home: Path) -> None:
    found = where(
        "Host *\n User other\n Port 1\n IdentityFile /their\nProxyCommand nc -l %r %h %p",
        home,
        user="pi",
        port=2222,
        identity_file=Path("~/mine"),
    )
    assert (found.user, found.port) == ("pi", 2222)
    assert found.identities == (home / "mine", Path("/their"))
    assert found.proxy_command == "nc -l pi pi 2222"


def test_known_hosts_files_may_be_several_quoted_and_with_tokens(home: Path) -> None:
    found = where(
        'HostName 10.0.0.12\nUserKnownHostsFile "~/my hosts" "/etc/%h/%r"\n'
        "GlobalKnownHostsFile none\nUser pi",
        home,
    )
    assert found.known_hosts == (home / "my hosts", Path("/etc/10.0.0.12/pi"))


def test_known_hosts_of_the_caller_replace_those_of_the_configuration(home: Path) -> None:
    found = destination(HostSpec(name="pi"), known_hosts=[Path("/k")])
    assert found.known_hosts == (Path("/k"),)


def test_included_files_stand_where_they_are_included(home: Path) -> None:
    folder = home / ".ssh" / "conf.d"
    folder.mkdir()
    (folder / "a.conf").write_text("Host pi\n User from-include\n")
    (folder / "b.conf").write_text("Host other\n Port 9\n")
    found = where("Include conf.d/*.conf\nPort 2222\nHost pi\n User late", home)
    assert (found.user, found.port) == ("from-include", 2222)


def test_an_include_within_a_block_holds_within_that_block_only(home: Path) -> None:
    (home / "inner").write_text("Port 2222\nHost p*\n User inner\nMatch all\n HostName inside\n")
    text = "Host {}\n Include {}\n IdentityFile /after\n"
    found = where(text.format("pi", home / "inner"), home)
    assert (found.port, found.user, found.host) == (2222, "inner", "inside")
    assert found.identities == (Path("/after"),)
    found = where(text.format("other", home / "inner"), home)
    assert (found.port, found.user, found.host) == (22, getpass.getuser(), "pi")
    assert found.identities == ()


def test_a_file_that_includes_itself_is_an_error(home: Path) -> None:
    with pytest.raises(UsageError, match="deeper than 16"):
        where(f"Include {home / 'config'}", home)


def test_match_blocks_hold_where_they_match(home: Path) -> None:
    text = "Match host 10.* user pi\n Port 2222\nHost *\n"
    assert where(f"HostName 10.0.0.12\nUser pi\n{text}", home).port == 2222
    assert where(f"HostName 11.0.0.12\nUser pi\n{text}", home).port == 22


def test_jumps_are_resolved_hop_by_hop(home: Path) -> None:
    found = where(
        """
        Host pi
          ProxyJump me@gate:2200,ssh://[fd00::1]:99
        Host gate
          HostName gate.example.net
          ProxyJump outer
          IdentityFile /gate
        """,
        home,
    )
    assert [str(step).partition("@")[2] for step in found.jumps] == [
        "outer",
        "gate.example.net:2200",
        "fd00::1:99",
    ]
    assert found.jumps[1].user == "me"
    assert found.jumps[1].identities == (Path("/gate"),)


def test_a_jump_host_does_not_jump_through_itself(home: Path) -> None:
    found = where("Host *\n ProxyJump gate", home)
    assert [step.host for step in found.jumps] == ["gate"]


def test_jumps_in_a_circle_are_an_error(home: Path) -> None:
    with pytest.raises(UsageError, match="round in circles"):
        where("Host pi a\n ProxyJump b\nHost b\n ProxyJump a", home)


def test_of_jump_and_command_the_first_counts(home: Path) -> None:
    found = where("ProxyCommand nc %h %p\nProxyJump gate", home)
    assert (found.proxy_command, found.jumps) == ("nc pi 22", ())
    found = where("ProxyJump gate\nProxyCommand nc %h %p", home)
    assert found.proxy_command is None
    assert found.jumps[0].host == "gate"
    assert where("ProxyJump none", home).jumps == ()
    assert where("ProxyCommand none", home).proxy_command is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Port many", "many"),
        ("Match nonsense", "nonsense"),
        ("ProxyJump a:b:c", "no host to jump through"),
        ("Include 'open", "quotation"),
        ('UserKnownHostsFile "open', "quotation"),
    ],
)
def test_a_configuration_that_makes_no_sense_names_its_file(
    home: Path, text: str, word: str
) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        where(text, home)
    assert str(home / "config") in caught.value.message


def test_a_configuration_that_is_asked_for_must_be_there(home: Path) -> None:
    with pytest.raises(UsageError, match="there is no such ssh_config"):
        destination(HostSpec(name="pi"), ssh_config=home / "nowhere")


def test_the_users_configuration_comes_before_the_systems(home: Path) -> None:
    (home / ".ssh" / "config").write_text("Host pi\n Port 2222\n")
    assert destination(HostSpec(name="pi")).port == 2222


def test_the_hosts_that_a_configuration_names(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "farm").write_text("Host thunderx\n User root\n")
    (tmp_path / "config").write_text(
        "Include more/*\nHost *\n User me\nHost pi-1 pi-2 !pi-3 pi-?\n HostName 10.0.0.1\n"
        "Host forge.example.org\n User git\nMatch host x\n User git\n"
    )
    assert aliases(tmp_path / "config") == ("thunderx", "pi-1", "pi-2")
    assert aliases(tmp_path / "nowhere") == ()
