"""What the keys of an inventory mean, where they are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import InventoryError
from fleet.inventory import load
from fleet.models import Connection, Provision, RegistrySpec
from fleet.platforms import Platform

from .helpers import complaints, host, image, loaded, written

AMD64, ARM64, ARMV7 = map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7"))


# --- registry and tags --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("embedded", RegistrySpec(address=None, plain_http=True, tunnel=True)),
        ("embedded/a/b", RegistrySpec(address=None, prefix="a/b", plain_http=True, tunnel=True)),
        ("{address: embedded, prefix: a}",
         RegistrySpec(address=None, prefix="a", plain_http=True, tunnel=True)),
        ("registry.example.org/team", RegistrySpec(address="registry.example.org", prefix="team")),
        ("registry.example.org", RegistrySpec(address="registry.example.org")),
        ("https://r.example/a/", RegistrySpec(address="r.example", prefix="a")),
        ("docker.io/someone", RegistrySpec(address="docker.io", prefix="someone")),
        ("http://r:5000/a", RegistrySpec(address="r:5000", prefix="a", plain_http=True)),
        ("http://10.0.0.1:5000", RegistrySpec(address="10.0.0.1:5000", plain_http=True)),
        # Nobody but the controller reaches its own loopback.
        ("localhost:5000/a", RegistrySpec(address="localhost:5000", prefix="a", tunnel=True)),
        ("http://127.0.0.1:5000",
         RegistrySpec(address="127.0.0.1:5000", plain_http=True, tunnel=True)),
        ("{address: 'http://localhost:5000', tunnel: false}",
         RegistrySpec(address="localhost:5000", plain_http=True)),
        ("{address: r.lan, prefix: a, plain_http: true, tunnel: True}",
         RegistrySpec(address="r.lan", prefix="a", plain_http=True, tunnel=True)),
    ],
)  # fmt: skip
def test_a_registry_is_a_text_or_a_mapping(text: str, expected: RegistrySpec) -> None:
    assert loaded(f"registry: {text}\nhosts: {{here: }}\n").registry == expected


def test_a_private_authority_is_a_file_beside_the_inventory() -> None:
    Path("our.crt").touch()
    found = loaded(
        """\
        registry: {address: r.lan/team, ca: our.crt}
        mirrors: {docker.io: {address: m.lan/hub, ca: our.crt}}
        hosts: {here: }
        """
    )
    assert found.registry == RegistrySpec(address="r.lan", prefix="team", ca=Path("our.crt"))
    assert dict(found.mirrors)["docker.io"].ca == Path("our.crt")


def test_the_authority_stays_where_the_command_line_names_the_same_registry() -> None:
    Path("our.crt").touch()
    Path("inventory.yml").write_text(
        "registry: {address: r.lan/team, ca: our.crt}\nhosts: {here: }\n"
    )
    for other, ca in (("r.lan/other", Path("our.crt")), ("r.else/team", None)):
        assert load(Path("inventory.yml"), registry=other).registry.ca == ca


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m.lan:5000", RegistrySpec(address="m.lan:5000")),
        ("http://m.lan:5000", RegistrySpec(address="m.lan:5000", plain_http=True)),
        ("{address: m.lan, plain_http: true}", RegistrySpec(address="m.lan", plain_http=True)),
        # A path, as Harbor's proxy projects and ECR's pull-through rules have it.
        ("m.lan/hub", RegistrySpec(address="m.lan", prefix="hub")),
    ],
)
def test_a_mirror_is_named_for_the_registry_that_it_stands_for(
    text: str, expected: RegistrySpec
) -> None:
    found = loaded(f"registry: embedded\nmirrors: {{docker.io: {text}}}\nhosts: {{here: }}\n")
    assert found.mirrors == (("docker.io", expected),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("latest",)),
        ("tags:", ("latest",)),
        ("tags: nightly", ("nightly",)),
        ("tags: [a, b, a]", ("a", "b")),
        ("tags: [1.10, 2024, 1e3, no]", ("1.10", "2024", "1e3", "no")),
    ],
)
def test_tags_are_texts_as_they_are_written(text: str, expected: tuple[str, ...]) -> None:
    assert loaded(f"registry: embedded\nhosts: {{here: }}\n{text}\n").tags == expected


# --- hosts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address", "user", "port"),
    [
        ("pi-1:", "pi-1", None, None),
        ("pi-1: ~", "pi-1", None, None),
        ("pi-1: {}", "pi-1", None, None),
        ("pi-1: {slots: 2}", "pi-1", None, None),
        ("pi@10.0.0.12:", "10.0.0.12", "pi", None),
        ("pi-1: board", "board", None, None),
        ("pi-1: board:2222", "board", None, 2222),
        ("pi-1: pi@10.0.0.12", "10.0.0.12", "pi", None),
        ("pi-1: pi@10.0.0.12:2222", "10.0.0.12", "pi", 2222),
        ("pi-1: ssh://pi@board.lan:2222", "board.lan", "pi", 2222),
        ("pi-1: ssh://board.lan/", "board.lan", None, None),
        ("pi-1: 'pi@[2001:db8::1]:2222'", "2001:db8::1", "pi", 2222),
        ("pi-1: '[fe80::1%eth0]'", "fe80::1%eth0", None, None),
        ("pi-1: 'ssh://[::1]:22'", "::1", None, 22),
        ("pi-1: '2001:db8::1'", "2001:db8::1", None, None),
        ("pi-1: me@work.example@jump", "jump", "me@work.example", None),
        ("pi-1: {address: board, user: pi, port: 22}", "board", "pi", 22),
        ("pi-1: {address: pi@board, user: pi}", "board", "pi", None),
        ("pi-1: {user: pi}", "pi-1", "pi", None),
        ("'1': 10.0.0.1", "10.0.0.1", None, None),
        ("2: two", "two", None, None),
    ],
)
def test_an_address_is_whatever_ssh_takes(
    text: str, address: str, user: str | None, port: int | None
) -> None:
    found = host(text)
    assert (found.address, found.user, found.port) == (address, user, port)
    assert found.connection is Connection.SSH


def test_a_local_host_has_no_address() -> None:
    found = host("here: {connection: local, slots: 3}")
    assert (found.connection, found.address, found.slots) == (Connection.LOCAL, "", 3)


@pytest.mark.parametrize("path", ["~/key", "../key", "/etc/key"])
def test_an_identity_file_is_the_users_or_beside_the_inventory(path: str, folder: Path) -> None:
    found = host(f"a: {{identity_file: {path}}}").identity_file
    assert found == {"~/key": folder / "home/key", "../key": Path("../key")}.get(path, Path(path))


@pytest.mark.parametrize(
    ("text", "platforms", "emulate"),
    [
        ("", None, ()),
        ("platforms: arm64", (ARM64,), ()),
        ("platforms: [linux/arm64, aarch64, armhf]", (ARM64, ARMV7), ()),
        ("emulate: [linux/arm/v7]", None, (ARMV7,)),
        ("emulate: false", None, ()),
        ("platforms: [arm64, arm], emulate: true", (ARM64, ARMV7), (ARM64, ARMV7)),
        ("platforms: [arm64, arm], emulate: arm/v7", (ARM64, ARMV7), (ARMV7,)),
    ],
)
def test_emulation_is_allowed_by_platform_and_true_means_those_of_the_limit(
    text: str, platforms: tuple[Platform, ...] | None, emulate: tuple[Platform, ...]
) -> None:
    found = host(f"a: {{{text}}}")
    assert (found.platforms, found.emulate) == (platforms, emulate)


def test_fleets_folder_on_the_hosts_is_the_files_unless_a_host_names_its_own() -> None:
    found = loaded(
        """\
        registry: embedded
        state: /srv/fleet/
        hosts: {a: , b: {state: ~/x}}
        """
    )
    assert [h.state for h in found.hosts] == ["/srv/fleet", "~/x"]


def test_hosts_and_groups_keep_the_order_of_the_file() -> None:
    found = loaded(
        """\
        registry: embedded
        hosts: {z: , y: , x: }
        groups:
          outer: [inner, z]
          inner: [x, y]
          single: x
          empty:
        """
    )
    assert [h.name for h in found.hosts] == ["z", "y", "x"]
    assert found.groups == (
        ("outer", ("z", "y", "x")),
        ("inner", ("y", "x")),
        ("single", ("x",)),
        ("empty", ()),
    )
    assert [h.groups for h in found.hosts] == [
        ("outer",), ("outer", "inner"), ("outer", "inner", "single")
    ]  # fmt: skip


def test_a_host_and_an_image_know_their_places_in_the_file() -> None:
    found = loaded("registry: embedded\nhosts:\n  a: x\nimages:\n  hello:\n")
    assert str(found.hosts[0].location) == "inventory.yml:3:3"
    assert str(found.images[0].location) == "inventory.yml:5:3"


# --- images -------------------------------------------------------------------------------


def test_without_images_every_folder_with_a_dockerfile_is_one() -> None:
    for name in ("web", "abc", ".hidden", "none"):
        (Path("dockerfiles") / name).mkdir()
    for name in ("web", "abc", ".hidden"):
        (Path("dockerfiles") / name / "Dockerfile").touch()
    found = loaded("registry: embedded\nhosts: {here: }\n").images
    assert [i.name for i in found] == ["abc", "hello", "web"]
    assert found[0].context == Path("dockerfiles/abc")
    assert found[0].dockerfile == Path("dockerfiles/abc/Dockerfile")


def test_an_image_takes_its_folder_unless_it_names_a_context() -> None:
    Path("Dockerfile.arm").touch()
    assert image("  hello:").context == Path("dockerfiles/hello")
    found = image("  hello: {context: ., dockerfile: Dockerfile.arm, target: run}")
    assert (found.context, found.dockerfile) == (Path(), Path("Dockerfile.arm"))
    assert found.target == "run"


def test_paths_start_at_the_inventorys_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "registry: embedded\nhosts: {here: }\nssh_config: conf\ndockerfiles: dockerfiles\n"
    (folder / "conf").touch()
    monkeypatch.chdir(folder / "dockerfiles")
    (folder / "inventory.yml").write_text(text)
    found = load(Path("../inventory.yml"))
    assert found.ssh_config == Path("../conf")
    assert found.images[0].context == Path("../dockerfiles/hello")


def test_build_arguments_are_the_texts_of_the_file() -> None:
    found = image(
        """\
  hello:
    build_args:
      B: 1.10
      A: 0777
      YES: yes
      YAML: True
      NULL_TEXT: "null"
      EMPTY: ""
      DATE: 2024-01-02
      FLOAT: 1e3
      LONG: >-
        one
        two
"""
    )
    assert found.build_args == (
        ("A", "0777"),
        ("B", "1.10"),
        ("DATE", "2024-01-02"),
        ("EMPTY", ""),
        ("FLOAT", "1e3"),
        ("LONG", "one two"),
        ("NULL_TEXT", "null"),
        ("YAML", "True"),
        ("YES", "yes"),
    )


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("[hello, --version]", ("hello", "--version")),
        ("[echo, 1, '']", ("echo", "1", "")),
        ("[echo, a, a]", ("echo", "a", "a")),
        ("hello --version", ("hello", "--version")),
        ("sh -c 'a | b'", ("sh", "-c", "a | b")),
        ("|\n      sh -c 'a'", ("sh", "-c", "a")),
    ],
)
def test_a_smoke_command_is_a_list_or_split_as_a_shell_would(
    text: str, argv: tuple[str, ...]
) -> None:
    assert image(f"  hello:\n    smoke: {text}").smoke == argv


def test_a_build_argument_may_have_a_value_for_each_platform() -> None:
    found = image(
        "  hello:\n    build_args: {A: x, ARCH: {amd64: amd64, arm/v7: arm32v7}, B: {amd64: ''}}"
    )
    assert found.build_args == (("A", "x"),)
    assert found.platform_args == (
        (AMD64, (("ARCH", "amd64"), ("B", ""))),
        (ARMV7, (("ARCH", "arm32v7"),)),
    )
    assert found.args_for(ARMV7) == (("A", "x"), ("ARCH", "arm32v7"))
    asked = found.with_args({"ARCH": "mine", "C": "c"})
    assert asked.args_for(AMD64) == (("A", "x"), ("ARCH", "mine"), ("B", ""), ("C", "c"))
    assert asked.args_for(ARMV7) == (("A", "x"), ("ARCH", "mine"), ("C", "c"))


def test_labels_contexts_and_aliases_are_texts_and_references() -> None:
    found = image(
        "  hello:\n    labels: {vendor: 1.0, empty: ''}\n"
        "    contexts: {base: 'debian:12', core: orthanc}\n    aliases: derekmerck/hello"
    )
    assert found.labels == (("empty", ""), ("vendor", "1.0"))
    assert found.contexts == (("base", "debian:12"), ("core", "orthanc"))
    assert found.aliases == ("derekmerck/hello",)


def test_a_prepare_command_runs_in_the_context_and_knows_its_place() -> None:
    found = image("  hello:\n    prepare: tools/fetch 'a b'").prepare
    assert found is not None
    assert found.command == ("tools/fetch", "a b")
    assert found.folder == Path("dockerfiles/hello")
    assert str(found.location) == "inventory.yml:5:14"
    assert image("  hello: {prepare: [make, -C, ..]}").prepare is not None
    assert image("  hello:").prepare is None


# --- YAML ---------------------------------------------------------------------------------


def test_anchors_and_merge_keys_say_a_thing_once() -> None:
    found = loaded(
        """\
        registry: embedded
        hosts:
          a: &board {user: pi, slots: 2, platforms: &v7 [arm/v7]}
          b: {<<: *board, slots: 3}
          c:
            <<: [{slots: 5}, *board]
            address: x
          d: {slots: 7, emulate: *v7, <<: *board}
        """
    )
    assert [(h.user, h.slots) for h in found.hosts] == [("pi", 2), ("pi", 3), ("pi", 5), ("pi", 7)]
    assert found.hosts[3].emulate == (ARMV7,)


def test_an_anchor_may_be_used_again_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    found = loaded("registry: embedded\nhosts: {a: &x {user: u}, b: &x {user: v}, c: *x}\n")
    assert [h.user for h in found.hosts] == ["u", "v", "v"]
    assert not recwarn.list


def test_a_key_without_a_value_counts_as_left_out() -> None:
    found = loaded(
        """\
        registry: embedded
        tags:
        platforms:
        groups:
        images:
        hosts: {a: {slots: , user: }}
        """
    )
    assert (found.tags, found.platforms, found.groups) == (("latest",), None, ())
    assert [i.name for i in found.images] == ["hello"]
    assert (found.hosts[0].slots, found.hosts[0].user) == (1, None)


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter() -> None:
    text = b"\xef\xbb\xbfregistry: embedded\r\nhosts:\r\n  a: x\r\n"
    assert loaded(text).hosts[0].address == "x"


def test_json_is_yaml() -> None:
    text = b'{"registry": "embedded", "hosts": {"a": {"address": "x", "slots": 2}}}'
    assert loaded(text).hosts[0].slots == 2


# --- versions and tags --------------------------------------------------------------------


def test_a_tag_may_leave_the_version_open_where_every_image_has_one() -> None:
    text = """
        registry: embedded
        hosts: {here: }
        tags: [latest, "{version}"]
        images:
          a: {version: "1.10", context: dockerfiles/hello}
          b: {context: dockerfiles/hello}
    """
    assert complaints(text) == ["7:3: b lacks a `version:`, which the tag '{version}' names"]
    whole = loaded(text.replace("          b: {context: dockerfiles/hello}\n", ""))
    assert whole.tags == ("latest", "{version}")
    assert whole.images[0].version == "1.10"
    with pytest.raises(InventoryError, match=r"which the tag .\{version\}-rc. names"):
        load(written(text.replace(', "{version}"', "")), tags=("{version}-rc",))


# --- rented hosts -------------------------------------------------------------------------


def test_a_host_says_how_it_is_rented() -> None:
    found = host(
        "rock-1: {platforms: [arm64], slots: 4, user: builder,"
        " provision: {up: ./rent --size big, down: [./end, it], timeout: 20m}}"
    )
    assert (found.address, found.user, found.slots, found.platforms) == ("", "builder", 4, (ARM64,))
    assert found.provision == Provision(
        up=("./rent", "--size", "big"),
        down=("./end", "it"),
        timeout=1200.0,
        folder=Path.cwd(),
        location=found.provision.location if found.provision else None,
    )


def test_a_group_says_it_for_each_of_its_hosts_that_does_not() -> None:
    found = loaded(
        """\
        registry: embedded
        hosts:
          here: {connection: local}
          rock-1: {platforms: [arm64]}
          rock-2: {platforms: [arm64], provision: {up: own, down: own}}
          rock-3: {platforms: [arm/v7]}
        groups:
          more: [rock-3]
          rocks:
            hosts: [rock-1, rock-2, more]
            provision: {up: theirs, down: theirs}
        """
    )
    up = {h.name: h.provision.up[0] if h.provision else None for h in found.hosts}
    assert up == {"here": None, "rock-1": "theirs", "rock-2": "own", "rock-3": "theirs"}
    assert dict(found.groups)["rocks"] == ("rock-1", "rock-2", "rock-3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r: {provision: {up: x, down: y}}",
         ["3:3: 'r' needs `platforms`, such as [linux/arm64]: a host that is rented cannot be"
          " probed before it is up"]),
        ("r: {platforms: [arm64], address: a, provision: {up: x, down: y}}",
         ["3:27: address means nothing with `provision`, whose `up` prints it"]),
        ("r: {connection: local, platforms: [arm64], provision: {up: x, down: y}}",
         ["3:7: `connection: local` is this machine, which cannot be rented"]),
        ("r: {platforms: [arm64], provision: {up: x}}", ["3:38: provision lacks 'down'"]),
        ("r: {platforms: [arm64], provision: {up: x, down: ''}}", ["3:52: down is empty; give it a"
         " value or leave it out"]),
        ("r: {platforms: [arm64], provision: {up: x, down: y, donw: z}}",
         ["3:55: unknown key 'donw' (did you mean 'down'?)"]),
        ("r: {platforms: [arm64], provision: {up: x, down: y, timeout: 0}}",
         ["3:64: a machine needs some time to come up: write 10m or the like"]),
        ("r: {platforms: [arm64], provision: up}",
         ["3:38: provision must be a mapping (`key: value`), not 'up'"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_renting_is_said_at_its_place(text: str, expected: list[str]) -> None:
    assert complaints(f"registry: embedded\nhosts:\n  {text}\n") == expected


def test_two_groups_do_not_rent_one_host() -> None:
    text = """\
        registry: embedded
        hosts: {rock-1: {platforms: [arm64]}}
        groups:
          a: {hosts: [rock-1], provision: {up: x, down: x}}
          b: {hosts: [rock-1], provision: {up: y, down: y}}
        """
    assert complaints(text) == [
        "5:24: 'rock-1' is rented by the group 'a' already (line 4); give it a"
        " `provision` of its own"
    ]
