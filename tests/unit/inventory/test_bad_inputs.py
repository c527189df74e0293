"""Whatever is wrong in an inventory is said in one sentence, at the place to mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import ExitCode, InvalidReference, InventoryError, UsageError
from fleet.inventory import load

from .helpers import complaints, loaded, written

GOOD = "registry: embedded\nhosts: {here: {connection: local}}\n"

NOT_YAML: list[tuple[bytes, str]] = [
    (b"a: b: c\n", "1:5: not valid YAML: a second `: ` on one line, or a line indented too far"),
    (b"hosts:\n\tx: 1\n", "2:1: not valid YAML: a tab stands here; YAML takes spaces only"),
    (b"x:\n- [a, b\n", "2:3: not valid YAML: what this opens is never closed"),
    (b"x: 'a\n", "1:4: not valid YAML: this quotation mark is never closed"),
    (b"a: 1\nb\nc: 2\n", "2:1: not valid YAML: a key without a `:` behind it"),
    (b"a: @x\n", "1:4: not valid YAML: a value that begins with this character needs quotes"),
    (b"a: *x\n", "1:4: not valid YAML: found undefined alias 'x'"),
    (
        b"a:\n  b: 1\n c: 2\n",
        "3:2: not valid YAML: this line is not indented as the lines it belongs",
    ),
    (b"- a\nb: c\n", "2:1: not valid YAML: a key stands here, where the list before it goes on"),
    (b"a: 1\n---\nb: 2\n", "2:1: not valid YAML: a second document begins here (---)"),
    (b"a: \x07\n", "1:4: not valid YAML: a control character stands here"),
    (b'a: "\\U00FFFFFF"\n', "1:1: not valid YAML, in a place that is not known: chr() arg"),
    (
        b"x: 1\nna\xc3\xafve: caf\xe9\n",
        "2:11: byte 0xe9 is not UTF-8; save the file in that encoding",
    ),
    ("é: 1\n".encode("utf-16"), "1:1: byte 0xff is not UTF-8; save the file in that encoding"),
    (b"[" * 800, "1:1: nested too deeply for an inventory"),
    (b"", "1:1: this file is empty; `fleet init` writes an inventory for this machine"),
    (b"# nothing yet\n", "1:1: this file is empty; `fleet init` writes an inventory"),
    (b"- hosts\n", "1:1: an inventory is a mapping (`key: value`) at its top"),
    (b"hello\n", "1:1: an inventory is a mapping (`key: value`) at its top"),
]


@pytest.mark.parametrize(("text", "expected"), NOT_YAML, ids=[repr(t[:20]) for t, _ in NOT_YAML])
def test_what_is_no_yaml_mapping_is_said_in_plain_words(text: bytes, expected: str) -> None:
    assert complaints(text)[0].startswith(expected)


# Lines from the third on; what the table expects is all that is said.
WRONG: list[tuple[str, list[str]]] = [
    # --- keys
    ("tag: x", ["3:1: unknown key 'tag' (did you mean 'tags'?)"]),
    (
        "zebra: x",
        [
            "3:1: unknown key 'zebra' (known here: dockerfiles, groups, hosts, images,"
            " keep_runs, limits, mirrors, notify, platforms, recipes, record_host, registry, sign,"
            " speculate, ssh_config, state, tags)"
        ],
    ),
    ("registry: embedded", ["3:1: duplicate key 'registry' (the first is in line 1)"]),
    ("tags: x\nplatforms: amd64\ntags: y", ["5:1: duplicate key 'tags' (the first is in line 3)"]),
    ("? [a]\n: b", ["3:3: a key must be a text"]),
    ("<<: 3", ["3:5: `<<` merges a mapping, or a list of mappings"]),
    ("tags: &a [*a]", ["3:7: holds itself, by an alias"]),
    ('tags: "\\0"', ["3:7: holds a NUL or half a character (a surrogate)"]),
    ('"\\ud800": x', ["3:1: holds a NUL or half a character (a surrogate)"]),
    # --- top level
    ("tags: []", ["3:7: tags is empty; give it a value or leave it out"]),
    (
        "tags: [fine, -no, a/b]",
        [
            f"3:{column}: {tag!r} is not a valid tag: a tag is 1 to 128 of A-Z a-z 0-9 _ . - and"
            " does not start with . or -"
            for column, tag in ((14, "-no"), (19, "a/b"))
        ],
    ),
    (
        "tags: ['{versoin}']",
        [
            "3:8: '{versoin}' holds {versoin}, which stands for nothing:"
            " a tag may hold {version}, {date}, {git_sha}"
        ],
    ),
    ("tags: {a: b}", ["3:7: tags must be a list, not a mapping"]),
    ("tags: !mine x", ["3:7: the tag !mine means nothing to fleet"]),
    ("dockerfiles: nowhere", ["3:14: the folder nowhere is not there"]),
    ("ssh_config: nowhere", ["3:13: the ssh_config nowhere is not there"]),
    ("ssh_config: dockerfiles", ["3:13: the ssh_config dockerfiles is a folder"]),
    ("ssh_config: ~nobody_here/x", ["3:13: the ssh_config ~nobody_here/x is not there"]),
    (
        "state: relative",
        [
            "3:8: 'relative' is no place for fleet's folder on a host: write an absolute path, or"
            " one under ~/"
        ],
    ),
    # --- groups
    ("groups: {here: []}", ["3:10: 'here' is a host already (line 2)"]),
    ("groups: {a: [heer]}", ["3:14: no host or group is called 'heer' (did you mean 'here'?)"]),
    ("groups: {a: [zzz]}", ["3:14: no host or group is called 'zzz'"]),
    ("groups: {a: [b], b: [here, a]}", ["3:10: a group holds itself: a -> b -> a"]),
    ("groups: {a: [a]}", ["3:10: a group holds itself: a -> a"]),
    ("groups: {a: {b: }}", ["3:14: unknown key 'b' (known here: hosts, provision)"]),
    ("groups: {a: [[here]]}", ["3:14: an item of a must be a text, not a list"]),
    ("groups: {all: [here]}", ["3:10: the name 'all' stands for every host"]),
    # --- images
    ("images: {}", ["3:9: images is empty; leave it out to build every folder under dockerfiles/"]),
    ("images: [hello]", ["3:9: images must be a mapping (`key: value`), not a list"]),
    (
        "images: {Hello: }",
        [
            "3:10: 'Hello' is not a valid image name: names are lower-case letters and digits,"
            " separated by one . _ - or /"
        ],
    ),
    ("images: {other: }", ["3:10: the build context dockerfiles/other is not there"]),
    ("images: {hello: {context: nowhere}}", ["3:27: the build context nowhere is not there"]),
    (
        "images: {hello: {context: dockerfiles/hello/Dockerfile}}",
        ["3:27: the build context dockerfiles/hello/Dockerfile is not a folder"],
    ),
    (
        "images: {hello: {context: dockerfiles}}",
        ["3:17: the Dockerfile dockerfiles/Dockerfile is not there"],
    ),
    (
        "images: {hello: {dockerfile: Dockerfile.arm}}",
        ["3:30: the Dockerfile dockerfiles/hello/Dockerfile.arm is not there"],
    ),
    ("images: {hello: {context: [x]}}", ["3:27: context must be a text, not a list"]),
    (
        "images: {hello: {build_arg: {}}}",
        ["3:18: unknown key 'build_arg' (did you mean 'build_args'?)"],
    ),
    ("images: {hello: {build_args: {A: }}}", ['3:31: a value is missing here; "" is an empty one']),
    (
        "images: {hello: {build_args: {A-B: 1}}}",
        ["3:31: 'A-B' is no name of a build argument: letters, digits and _, no digit first"],
    ),
    ("images: {hello: {build_args: {A: [1]}}}", ["3:34: A must be a text, not a list"]),
    ('images: {hello: {smoke: "say \'hi"}}', ["3:25: no command line: no closing quotation"]),
    (
        "images: {hello: {build_args: {A: {amd: 1}}}}",
        [
            "3:34: a value, or one for each platform: 'amd' names no known architecture (did you"
            " mean 'amd64'?): the known"
            " ones are 386, amd64, arm, arm64, loong64, mips, mips64, mips64le, mipsle, ppc64,"
            " ppc64le, riscv64, s390x"
        ],
    ),
    (
        "images: {hello: {labels: {architecture: x, io.xarch-fleet.inputs: x}}}",
        [
            "3:27: fleet sets the label architecture itself",
            "3:44: fleet sets the label io.xarch-fleet.inputs itself",
        ],
    ),
    (
        "images: {hello: {contexts: {base: 'A B'}}}",
        [
            "3:35: 'A B' is not an image: 'A B' is not a valid image name: names are lower-case"
            " letters and digits, separated by one . _ - or /"
        ],
    ),
    ("images: {hello: {prepare: []}}", ["3:27: prepare is empty; give it a value or leave it out"]),
    ('images: {hello: {prepare: "say \'hi"}}', ["3:27: no command line: no closing quotation"]),
    ("images: {hello: {smoke: []}}", ["3:25: smoke is empty; give it a value or leave it out"]),
    (
        "images: {hello: {cache: registri}}",
        ["3:25: a cache is host or registry, not 'registri' (did you mean 'registry'?)"],
    ),
    ("images: {hello: {smoke: ''}}", ["3:25: smoke is empty; give it a value or leave it out"]),
    (
        "images: {hello: {platforms: []}}",
        ["3:29: platforms is empty; give it a value or leave it out"],
    ),
    ("images: {hello: {target: a b}}", ["3:26: 'a b' is no stage of a Dockerfile"]),
]


@pytest.mark.parametrize(("lines", "expected"), WRONG, ids=[lines for lines, _ in WRONG])
def test_a_wrong_line_is_named_with_its_column(lines: str, expected: list[str]) -> None:
    assert complaints(f"{GOOD}{lines}\n") == expected


HOSTS: list[tuple[str, list[str]]] = [
    ("a: {adress: x}", ["3:7: unknown key 'adress' (did you mean 'address'?)"]),
    ("a: [x]", ["3:6: a must be a text or a mapping (`key: value`), not a list"]),
    ("a: {slots: 0}", ["3:14: slots is a whole number from 1 on, not '0'"]),
    ("a: {slots: four}", ["3:14: slots is a whole number from 1 on, not 'four'"]),
    ("a: {port: 65536}", ["3:13: a port is a number from 1 to 65535, not '65536'"]),
    ("a: {user: ''}", ["3:13: user is empty; give it a value or leave it out"]),
    (
        "a: {connection: loca}",
        ["3:19: a connection is ssh or local, not 'loca' (did you mean 'local'?)"],
    ),
    (
        "a: {platforms: [linux/arm/v7, linux/arm/v7/x]}",
        [
            "3:33: 'linux/arm/v7/x' is no platform: write it as linux/amd64, linux/arm64 or"
            " linux/arm/v7"
        ],
    ),
    (
        "a: {emulate: true}",
        [
            "3:16: `emulate: true` needs `platforms` beside it; or name them:"
            " `emulate: [linux/arm/v7]`"
        ],
    ),
    (
        "a: {platforms: [arm64], emulate: [arm/v7]}",
        ["3:36: `platforms` beside it leaves linux/arm/v7 out"],
    ),
    (
        "a: {connection: local, address: x, slots: 2, port: 22}",
        [
            "3:26: address means nothing with `connection: local`",
            "3:48: port means nothing with `connection: local`",
        ],
    ),
    (
        "a: {address: u@h:22, user: v, port: 23}",
        [
            "3:24: the address names another user (u); leave one of them out",
            "3:33: the address names another port (22); leave one of them out",
        ],
    ),
    ("all: x", ["3:3: the name 'all' stands for every host"]),
    (
        "'two words': x",
        [
            "3:3: 'two words' is no name: names are letters, digits and . _ - : @ % +, and begin"
            " with a letter or digit"
        ],
    ),
    ("'a:b':", ["3:3: 'a:b' needs an `address`; its name is none"]),
    ("a: x\n  b: y\n  a: z", ["5:3: duplicate key 'a' (the first is in line 3)"]),
    (
        "a: pi@10.0.0.12:ssh",
        ["3:6: a port is a number from 1 to 65535, not 'ssh'"],
    ),
    (
        "a: http://x",
        [
            "3:6: 'http://x' is no address of a host: http:// is not a way to reach a host;"
            " ssh:// is"
        ],
    ),
]


@pytest.mark.parametrize(("lines", "expected"), HOSTS, ids=[lines for lines, _ in HOSTS])
def test_a_wrong_host_is_named_with_its_column(lines: str, expected: list[str]) -> None:
    assert complaints(f"registry: embedded\nhosts:\n  {lines}\n") == expected


REGISTRIES: list[tuple[str, str]] = [
    ("embeded", "11: 'embeded' is no registry (did you mean 'embedded'?)"),
    ("someone", "11: 'someone' is no registry: it begins with a host, such as docker.io/ACCOUNT"),
    ("docker.io", "11: 'docker.io' is no registry: Docker Hub needs an account: docker.io/ACCOUNT"),
    ("r.example/a:1", "11: 'r.example/a:1' is no registry: tags stand under `tags`, not here"),
    (
        "ftp://r.example",
        "11: 'ftp://r.example' is no registry: ftp:// is not a registry's protocol",
    ),
    ("r.example:99999/a", "11: a port is a number from 1 to 65535, not '99999'"),
    ("{prefix: a}", "11: registry lacks 'address'"),
    ("{address: r.example/a, prefix: b}", "42: the address has a path already; name one of them"),
    ("{address: r.example, tunnel: maybe}", "40: this is true or false, not 'maybe'"),
    (
        "{address: embedded, tunnel: false}",
        "39: the embedded registry speaks plain http and is carried to the hosts, always",
    ),
    ("{address: r.example, ca: none.crt}", "36: the certificate none.crt is not there"),
    (
        "{address: embedded, ca: none.crt}",
        "31: ca means nothing with the embedded registry: it has no TLS",
    ),
    ("[r.example]", "11: registry must be a text or a mapping (`key: value`), not a list"),
]


@pytest.mark.parametrize(("text", "expected"), REGISTRIES, ids=[text for text, _ in REGISTRIES])
def test_a_wrong_registry_is_named_with_its_column(text: str, expected: str) -> None:
    assert complaints(f"hosts: {{here: }}\nregistry: {text}\n") == [f"2:{expected}"]


MIRRORS: list[tuple[str, str]] = [
    ("{docker.io: embedded}", "22: fleet's own registry is no mirror: it holds only what fleet"
     " builds"),
    ("{docker.io: {adress: m.lan}}", "23: unknown key 'adress' (did you mean 'address'?)"),
    ("{docker.io: {ca: x}}", "22: docker.io lacks 'address'"),
    ("{docker.io: {address: m.lan, ca: none.crt}}", "43: the certificate none.crt is not there"),
    ("{docker: m.lan}", "11: 'docker' is no registry: it is a name as images begin with, such as"
     " docker.io"),
    ("{docker.io/library: m.lan}", "11: 'docker.io/library' is no registry: a registry as a whole"
     " has a mirror: docker.io"),
    ("[m.lan]", "10: mirrors must be a mapping (`key: value`), not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MIRRORS, ids=[text for text, _ in MIRRORS])
def test_a_wrong_mirror_is_named_with_its_column(text: str, expected: str) -> None:
    said = complaints(f"{GOOD}mirrors: {text}\n")
    assert f"3:{expected}" in said


def test_all_problems_are_said_at_once_in_the_order_of_the_file() -> None:
    assert complaints(
        """\
        tag: latest
        hosts:
          pi: {slots: none, port: 0}
          big: {adress: x}
        groups:
          arm: [pi, bgi]
        images:
          hello: {dockerfile: D}
          other: {platforms: [vax]}
        """
    ) == [
        "1:1: no registry: `registry: embedded` is fleet's own, --registry names another"
        " (an Ansible inventory has it under `all: vars: fleet:`)",
        "1:1: unknown key 'tag' (did you mean 'tags'?)",
        "3:15: slots is a whole number from 1 on, not 'none'",
        "3:27: a port is a number from 1 to 65535, not '0'",
        "4:9: unknown key 'adress' (did you mean 'address'?)",
        "6:13: no host or group is called 'bgi' (did you mean 'big'?)",
        "8:23: the Dockerfile dockerfiles/hello/D is not there",
        "9:10: the build context dockerfiles/other is not there",
        "9:23: 'vax' names no known architecture: the known ones are 386, amd64, arm, arm64,"
        " loong64, mips, mips64, mips64le, mipsle, ppc64, ppc64le, riscv64, s390x",
    ]


def test_an_inventory_without_hosts_says_so() -> None:
    assert complaints("registry: embedded\n") == [
        "1:1: no hosts: `hosts` names the machines that build"
    ]


def test_a_found_folder_that_cannot_be_an_image_is_named() -> None:
    folder = Path("dockerfiles/Big One")
    folder.mkdir()
    (folder / "Dockerfile").touch()
    (said,) = complaints(GOOD)
    assert said.startswith("1:1: the folder dockerfiles/Big One cannot be an image, for 'Big One'")


def test_aliases_do_not_make_a_small_file_large() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (said,) = complaints("\n".join(rows))
    assert "more than 100000 values once aliases are followed" in said


def test_no_tag_makes_an_object() -> None:
    said = complaints(f"{GOOD}tags: !!python/object/apply:os.system [touch made]\n")
    assert said == ["3:7: the tag !!python/object/apply:os.system means nothing to fleet"]
    assert not Path("made").exists()


@pytest.mark.parametrize(
    "line",
    [
        "hosts: {a: 'pi:hunter2@h'}",
        "hosts: {a: 'ssh://pi:hunter2@h'}",
        "hosts: {a: 'http://pi:hunter2@h'}",
        "hosts: {a: }\nregistry: https://me:hunter2@r.example/x",
        "hosts: {a: }\nregistry: 'ftp://me:hunter2@r.example/x'",
        "hosts: {a: }\nregistry: 'me:hunter2@r.example/x'",
    ],
)
def test_a_password_in_the_file_is_refused_and_not_repeated(line: str) -> None:
    said = " ".join(complaints(line))
    assert "password" in said or "credentials" in said
    assert "hunter2" not in said


def test_names_of_files_are_printed_as_they_were_written(folder: Path) -> None:
    (folder / "sub").mkdir()
    written("tag: x\n", "sub/fleet.yml")
    for name in ("sub/fleet.yml", str(folder / "sub/fleet.yml")):
        with pytest.raises(InventoryError, match=f"^{name}:1:1: "):
            load(Path(name))


# --- files --------------------------------------------------------------------------------


def test_a_missing_inventory_says_where_and_what_writes_one() -> None:
    with pytest.raises(UsageError) as caught:
        load(Path("nowhere.yml"))
    assert str(caught.value) == (
        "there is no inventory at nowhere.yml\n  `fleet init` writes one for this machine"
    )
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_folder_is_no_inventory() -> None:
    with pytest.raises(UsageError, match=r"^dockerfiles is a folder, not an inventory\n.*init"):
        load(Path("dockerfiles"))


def test_an_unreadable_inventory_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:  # root, which tests may be, reads every file
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"inventory.yml: permission denied\n.*fleet init"):
        load(Path("inventory.yml"))


@pytest.mark.parametrize("name", ["inventory.yml/x", "a\0b", "n" * 5000])
def test_a_path_that_cannot_be_opened_says_why(name: str) -> None:
    written(GOOD)
    with pytest.raises(UsageError, match="cannot read the inventory"):
        load(Path(name))


def test_a_file_too_large_for_an_inventory_is_not_read() -> None:
    with pytest.raises(UsageError, match="too large for an inventory"):
        load(Path("/dev/zero"))


# --- from the command line ----------------------------------------------------------------


def test_registry_and_tags_of_the_command_line_stand_instead_of_the_files() -> None:
    path = written(f"{GOOD}tags: [old]\n")
    found = load(path, registry="http://r.example:5000/team", tags=("a", "b", "a"))
    assert (found.registry.address, found.registry.prefix) == ("r.example:5000", "team")
    assert found.registry.plain_http
    assert found.tags == ("a", "b")


def test_a_registry_of_the_command_line_makes_one_in_the_file_needless() -> None:
    assert load(written("hosts: {a: }\n"), registry="embedded").registry.embedded


def test_a_malformed_registry_or_tag_of_the_command_line_is_a_usage_error() -> None:
    path = written(GOOD)
    with pytest.raises(UsageError, match="--registry: 'embeded' is no registry"):
        load(path, registry="embeded")
    with pytest.raises(InvalidReference, match="'a b' is not a valid tag"):
        load(path, tags=("a b",))


def test_an_inventory_without_images_loads_so_that_its_hosts_can_be_looked_at() -> None:
    (Path("dockerfiles") / "hello" / "Dockerfile").unlink()
    assert loaded(GOOD).images == ()
