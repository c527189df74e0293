"""An inventory that Ansible reads says the same to fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.models import Connection
from fleet.platforms import Platform

from .helpers import complaints, loaded, placeless, written

SETTINGS = "  vars: {fleet: {registry: embedded}}\n"


def one(variables: str) -> object:
    """The one host of an Ansible inventory with these variables."""
    (found,) = loaded(f"all:\n  hosts: {{a: {{{variables}}}}}\n{SETTINGS}").hosts
    return found


def test_both_forms_make_the_same_models() -> None:
    native = loaded(
        """\
        registry: registry.example.org/team
        tags: [latest, "1.10"]
        platforms: [arm64, arm/v7]
        hosts:
          big: {address: root@big.lan, slots: 4, platforms: [arm64]}
          pi-1: {address: 10.0.0.1, user: pi, port: 2222, identity_file: ~/.ssh/pi}
          pi-2: {user: pi, port: 22, identity_file: ~/.ssh/pi, emulate: [armv6l]}
          here: {connection: local}
        groups:
          arm: [big, pis]
          pis: [pi-1, pi-2]
        images:
          hello: {build_args: {V: 1.10}}
        """
    )
    ansible = loaded(
        """\
        all:
          vars:
            ntp_server: time.example.org
            ansible_python_interpreter: /usr/bin/python3
            fleet:
              registry: registry.example.org/team
              tags: [latest, "1.10"]
              platforms: [arm64, arm/v7]
              images:
                hello: {build_args: {V: 1.10}}
          children:
            arm:
              hosts:
                big:
                  ansible_host: big.lan
                  ansible_user: root
                  fleet_slots: 4
                  fleet_platforms: arm64
              children:
                pis:
                  vars:
                    ansible_user: pi
                    ansible_port: 22
                    ansible_ssh_private_key_file: ~/.ssh/pi
                  hosts:
                    pi-1: {ansible_host: 10.0.0.1, ansible_port: 2222}
                    pi-2: {fleet_emulate: [armv6l]}
            ungrouped:
              hosts:
                here: {ansible_connection: local, ansible_host: 127.0.0.1}
        """
    )
    assert placeless(ansible) == placeless(native)


def test_a_native_file_may_name_an_ansible_inventory_for_its_hosts_and_groups() -> None:
    Path("ansible").mkdir()
    written("pis:\n  hosts:\n    pi-[1:2]: {ansible_user: pi}\n", "ansible/hosts.yml")
    found = loaded(
        """\
        registry: embedded
        hosts: ansible/hosts.yml
        groups: {first: [pi-1], both: [pis]}
        """
    )
    assert [(h.name, h.user, h.groups) for h in found.hosts] == [
        ("pi-1", "pi", ("pis", "first", "both")),
        ("pi-2", "pi", ("pis", "both")),
    ]
    assert str(found.hosts[0].location) == "ansible/hosts.yml:3:5"


def test_problems_in_the_file_that_it_names_are_told_with_that_files_name() -> None:
    written("pis: {hosts: {pi-1: {fleet_slots: x}}}\n", "hosts.yml")
    said = complaints("registry: embedded\nhosts: hosts.yml\ntag: x\ngroups: {pis: [pi-1]}\n")
    assert said == [
        "hosts.yml:1:35: slots is a whole number from 1 on, not 'x'",
        "3:1: unknown key 'tag' (did you mean 'tags'?)",
        "4:10: hosts.yml:1:1 has a group 'pis' already",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "2:8: there is no inventory at hosts.yml; `hosts` is a mapping (`name: address`),"
               " or names an Ansible inventory in YAML"),
        ("registry: x\n", "hosts.yml:1:1: `hosts` names this file, but it is no Ansible inventory"),
        ("[pi]\npi-1\n", "hosts.yml:1:1: this is Ansible's INI form, and fleet reads its YAML form;"
                         " `ansible-inventory -i hosts.yml --list --yaml > hosts.yml` converts it"),
    ],
)  # fmt: skip
def test_a_file_that_gives_no_hosts_is_one_complaint_and_hides_no_other(
    text: str | None, expected: str
) -> None:
    if text is not None:
        written(text, "hosts.yml")
    said = complaints("registry: embedded\nhosts: hosts.yml\ngroups: {a: [pi-1]}\ntag: x\n")
    assert sorted(said) == sorted([expected, "4:1: unknown key 'tag' (did you mean 'tags'?)"])


@pytest.mark.parametrize(
    "text",
    [
        "[pis]\npi-1 ansible_host=10.0.0.1\n",
        "# hosts\n[pis:children]\nboards\n",
        "pi-1 ansible_host=10.0.0.1 ansible_user=pi\n",
        "pi-1\n\n[pis]\npi-2\n",
    ],
)
def test_the_ini_form_is_refused_with_how_to_convert_it(text: str) -> None:
    assert complaints(text) == [
        "1:1: this is Ansible's INI form, and fleet reads its YAML form;"
        " `ansible-inventory -i inventory.yml --list --yaml > hosts.yml` converts it"
    ]


# --- variables ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "attribute", "expected"),
    [
        ("ansible_host: h", "address", "h"),
        ("", "address", "a"),
        ("ansible_host: ", "address", "a"),
        ("ansible_ssh_host: h", "address", "h"),
        ("ansible_user: u", "user", "u"),
        ("ansible_port: 2222", "port", 2222),
        ("ansible_private_key_file: /k", "identity_file", Path("/k")),
        ("ansible_connection: smart", "connection", Connection.SSH),
        ("ansible_connection: ansible.builtin.ssh", "connection", Connection.SSH),
        ("ansible_connection: paramiko", "connection", Connection.SSH),
        ("ansible_connection: local, ansible_user: u", "connection", Connection.LOCAL),
        ("fleet_slots: 3", "slots", 3),
        ("fleet_platforms: [arm64]", "platforms", (Platform.parse("arm64"),)),
        ("fleet_emulate: arm64", "emulate", (Platform.parse("arm64"),)),
        ("fleet_state: /srv/fleet", "state", "/srv/fleet"),
        ("ansible_password: !vault x, http_port: '{{ a }}', list: [1]", "user", None),
    ],
)
def test_the_variables_that_fleet_reads(variables: str, attribute: str, expected: object) -> None:
    assert getattr(one(variables), attribute) == expected


def test_variables_are_inherited_as_ansible_does() -> None:
    found = loaded(
        """\
        all:
          vars: {ansible_user: all, ansible_port: 1, fleet_slots: 1, fleet: {registry: embedded}}
          children:
            parent:
              vars: {ansible_user: parent, ansible_port: 2}
              children:
                child: {hosts: {a: , b: {ansible_user: own}}, vars: {ansible_user: child}}
            zoo: {hosts: {a: , c: , d: }, vars: {ansible_port: 3}}
            ark: {hosts: {c: , d: }, vars: {ansible_port: 4, fleet_slots: 4}}
            top: {hosts: {d: }, vars: {ansible_port: 5, ansible_group_priority: 10}}
        """
    )
    assert {h.name: (h.user, h.port, h.slots) for h in found.hosts} == {
        "a": ("child", 3, 1),  # the child's before the parent's; zoo after parent by name
        "b": ("own", 2, 1),
        "c": ("all", 3, 4),  # of two groups at one depth, the last by name
        "d": ("all", 5, 4),  # unless another has priority
    }


def test_a_group_may_be_told_in_parts() -> None:
    found = loaded(
        """\
        all:
          children: {arm: {children: {pis: }}, pis: {hosts: {pi-1: {ansible_user: pi}}}}
          vars: {fleet: {registry: embedded}}
        pis: {hosts: {pi-1: {ansible_port: 5}}, vars: {fleet_slots: 2}}
        """
    )
    assert found.groups == (("arm", ("pi-1",)), ("pis", ("pi-1",)))
    (pi,) = found.hosts
    assert (pi.user, pi.port, pi.slots) == ("pi", 5, 2)


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("pi-[1:3]", ["pi-1", "pi-2", "pi-3"]),
        ("pi-[08:10]", ["pi-08", "pi-09", "pi-10"]),
        ("pi-[1:6:2]", ["pi-1", "pi-3", "pi-5"]),
        ("pi-[:1]", ["pi-0", "pi-1"]),
        ("rack-[a:c]", ["rack-a", "rack-b", "rack-c"]),
        ("[a:b]-[1:2].lan", ["a-1.lan", "a-2.lan", "b-1.lan", "b-2.lan"]),
        ("plain", ["plain"]),
    ],
)
def test_ranges_stand_for_several_hosts(pattern: str, names: list[str]) -> None:
    found = loaded(f"all:\n  hosts:\n    '{pattern}': {{ansible_user: u}}\n{SETTINGS}").hosts
    assert [h.name for h in found] == names
    assert {h.user for h in found} == {"u"}


def test_a_name_may_end_in_a_port() -> None:
    found = loaded(f"all:\n  hosts: {{'pi:22': , 'b-[1:2]:23': }}\n{SETTINGS}").hosts
    assert [(h.name, h.address, h.port) for h in found] == [
        ("pi", "pi", 22), ("b-1", "b-1", 23), ("b-2", "b-2", 23)
    ]  # fmt: skip


# --- problems -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fleet_slot: 1", "2:15: unknown key 'fleet_slot' (did you mean 'fleet_slots'?)"),
        ("fleet: {}", "2:15: 'fleet' is read among the variables of 'all' only"),
        ("fleet_slots: 0", "2:28: slots is a whole number from 1 on, not '0'"),
        ("ansible_port: x", "2:29: a port is a number from 1 to 65535, not 'x'"),
        ("ansible_host: [x]", "2:29: ansible_host must be a text, not a list"),
        ("ansible_host: !vault x", "2:29: the tag !vault means nothing to fleet"),
        ("ansible_connection: winrm", "2:35: a connection is ssh or local, not 'winrm'"),
        (
            "ansible_host: '{{ ip }}'",
            "2:29: ansible_host is a template, which only Ansible can fill in;"
            " `ansible-inventory --list --yaml` shows inventories with their values",
        ),
    ],
)
def test_a_wrong_variable_is_named_as_the_file_has_it(text: str, expected: str) -> None:
    assert complaints(f"all:\n  hosts: {{a: {{{text}}}}}\n{SETTINGS}") == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  hosts: {'a[3:1]': , b: }", "2:11: the range [3:1] in 'a[3:1]' holds nothing"),
        ("  hosts: {'a[01:9]': , b: }", "2:11: the range [01:9] in 'a[01:9]' holds nothing"),
        ("  hosts: {'a[1:9:0]': , b: }", "2:11: the range [1:9:0] in 'a[1:9:0]' holds nothing"),
        (
            "  hosts: {'a[1:99999]': , b: }",
            "2:11: 'a[1:99999]' makes more than 10000 hosts",
        ),
        ("  hosts: [a]", "2:10: hosts must be a mapping (`key: value`), as Ansible has it"),
        ("  hosts: {a: }\n  child: {}", "3:3: unknown key 'child' (did you mean 'children'?)"),
        ("  hosts: {a: }\n  children: {a: }", "3:14: 'a' is a host already (line 2)"),
        ("  hosts: {a: }\n  children: {all: }", "3:14: the group 'all' holds every other"),
        (
            "  hosts: {a: }\n  children: {x: {children: {y: {children: {x: }}}}}",
            "3:14: a group holds itself: x -> y -> x",
        ),
        ("  hosts: {a: , b: , a: }", "2:21: duplicate key 'a' (the first is in line 2)"),
        (
            "  hosts: {a: }\ntags: x",
            "3:1: an Ansible inventory has 'tags' under `all: vars: fleet:`",
        ),
    ],
)
def test_a_wrong_structure_is_named_with_its_column(text: str, expected: str) -> None:
    body, _, rest = text.partition("\ntags")
    full = f"all:\n{body}\n" + (f"tags{rest}\n" if rest else "") + "ungrouped:\n"
    assert f"{expected}" in complaints(full + "ungrouped2: {vars: {x: y}}\n")


def test_fleets_settings_may_not_name_hosts_again() -> None:
    said = complaints("all:\n  hosts: {a: }\n  vars: {fleet: {registry: embedded, hosts: {b: }}}\n")
    assert said == ["3:38: Ansible's hosts are fleet's; leave hosts out"]


def test_misspelt_settings_are_named() -> None:
    said = complaints("all:\n  hosts: {a: }\n  vars: {fleet: {registy: embedded}}\n")
    assert said[-1] == "3:18: unknown key 'registy' (did you mean 'registry'?)"
