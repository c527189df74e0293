"""The native form: every key that an inventory may have, what it takes, what it is by default.

Reading is in two steps: pydantic checks the shape against the classes below, and
`read` turns what it finds wrong into sentences at places in the file. A scalar
comes in as its text, so that ``1.10`` as a tag or a build argument stays ``1.10``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from fleet.durations import parse_duration
from fleet.errors import UsageError
from fleet.inventory import tree
from fleet.inventory.addresses import (
    Address,
    parse_address,
    parse_mirror,
    parse_port,
    parse_registry,
    parse_registry_name,
)
from fleet.inventory.sizes import parse_size
from fleet.models import Connection, LayerCache, Notify, Occasion, RegistrySpec
from fleet.models import Limits as Bounds
from fleet.platforms import Platform
from fleet.references import Reference, check_repository, check_tag_template
from fleet.suggest import did_you_mean

_HOST_NAME = re.compile(r"\w[\w.:@%+-]*")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_WHOLE = re.compile(r"[0-9]{1,6}")
# Labels that fleet sets, for it reads them again.
_OWN_LABEL = re.compile(
    r"architecture|io\.xarch-fleet\..*|org\.opencontainers\.image\.(?:created|base\..*)"
)
DEFAULTS = Bounds()
DEFAULT_NOTIFY = Notify()


@dataclass(frozen=True)
class Takes:
    """What a value is, in the words of docs/reference.md; one beside every type below."""

    words: str


# --- texts --------------------------------------------------------------------------------


def one_line(error: UsageError) -> str:
    """An error and its remedy in one sentence."""
    return error.message if error.hint is None else f"{error.message}: {error.hint}"


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("text", "text")
    if not value.strip():
        raise PydanticCustomError("empty", "empty")
    return value


def _read(parse: Callable[[str], Any]) -> PlainValidator:
    """A validator of texts from a function that raises UsageError."""

    def validate(value: object) -> Any:
        try:
            return parse(_text(value))
        except UsageError as error:
            raise _wrong(one_line(error)) from None

    return PlainValidator(validate)


def _web_address(text: str) -> str:
    """An address that is asked with GET. Raises UsageError."""
    if not text.startswith(("https://", "http://", "${")) or any(c.isspace() for c in text):
        raise UsageError("a healthcheck is a URL that begins with https:// or http://")
    return text


def _line(text: str) -> str:
    if not text.isprintable():
        raise UsageError(f"{text[:80]!r} holds characters that cannot be printed")
    return text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UsageError(f"this is true or false, not {text[:80]!r}")
    return text.lower() == "true"


def _slots(text: str) -> int:
    if not _WHOLE.fullmatch(text) or int(text) < 1:
        raise UsageError(f"slots is a whole number from 1 on, not {text[:80]!r}")
    return int(text)


def _some_size(text: str) -> int:
    size = parse_size(text)
    if size < 1:
        raise UsageError("a compiler needs some memory", hint="write 1GB or the like")
    return size


def _some_time(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise UsageError("a machine needs some time to come up", hint="write 10m or the like")
    return seconds


def _attempts(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) < 1:
        raise UsageError(f"attempts is a whole number from 1 to 99, not {text[:80]!r}")
    return int(text)


def _connection(text: str) -> Connection:
    try:
        return Connection(text)
    except ValueError:
        near = did_you_mean(text, [known.value for known in Connection])
        raise UsageError(f"a connection is ssh or local, not {text[:80]!r}{near}") from None


def _cache(text: str) -> LayerCache:
    try:
        return LayerCache(text)
    except ValueError:
        near = did_you_mean(text, [known.value for known in LayerCache])
        raise UsageError(f"a cache is host or registry, not {text[:80]!r}{near}") from None


def _state(text: str) -> str:
    folder = _line(text).rstrip("/")
    if not folder.startswith(("/", "~/")):
        raise UsageError(
            f"{text!r} is no place for fleet's folder on a host",
            hint="write an absolute path, or one under ~/",
        )
    return folder


def _stage(text: str) -> str:
    if not _STAGE.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is no stage of a Dockerfile")
    return text


def host_name(text: str) -> str:
    """A host's name, if it is one. Raises UsageError."""
    if text == "all":
        raise UsageError("the name 'all' stands for every host")
    if not _HOST_NAME.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} is no name: names are letters, digits and . _ - : @ % +,"
            " and begin with a letter or digit"
        )
    return text


def _argument_name(text: str) -> str:
    if not _ARGUMENT.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} is no name of a build argument: letters, digits and _, no digit first"
        )
    return text


def _value(value: object) -> str:
    """A text that may be empty, but is there: ``""`` and nothing at all are told apart."""
    if value is None:
        raise _wrong('a value is missing here; "" is an empty one')
    if not isinstance(value, str):
        raise PydanticCustomError("text", "text")
    return value


def _argument(value: object) -> str | dict[Platform, str]:
    """A value for every platform, or a mapping of platforms to values."""
    if not isinstance(value, dict):
        return _value(value)
    try:
        return {Platform.parse(platform): _value(each) for platform, each in value.items()}
    except UsageError as error:
        raise _wrong(f"a value, or one for each platform: {one_line(error)}") from None


def _label_name(text: str) -> str:
    if _OWN_LABEL.fullmatch(text):
        raise UsageError(f"fleet sets the label {text} itself")
    return _line(text)


def _image(text: str) -> str:
    Reference.parse(text)
    return text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_argv(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise _wrong(f"no command line: {str(error).lower()}") from None


def _not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise PydanticCustomError("empty", "empty")
    return items


def _each_once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(_not_empty(items)))


def _as_emulate(value: object) -> object:
    match value:
        case "true" | "True" | "TRUE":
            return None  # every platform that `platforms` names
        case "false" | "False" | "FALSE":
            return []
        case _:
            return _as_list(value)


Text = Annotated[str, _read(_line), Takes("text")]
Duration = Annotated[float, _read(parse_duration), Takes("duration")]
Size = Annotated[int, _read(parse_size), Takes("size")]
Flag = Annotated[bool, _read(_truth), Takes("true or false")]
HostName = Annotated[str, _read(host_name), Takes("name")]
RegistryName = Annotated[str, _read(parse_registry_name), Takes("registry")]
ImageName = Annotated[str, _read(check_repository), Takes("image")]
APlatform = Annotated[Platform, _read(Platform.parse), Takes("platform")]
Platforms = Annotated[
    tuple[APlatform, ...],
    BeforeValidator(_as_list),
    AfterValidator(_each_once),
    Takes("list of platforms"),
]
Tags = Annotated[
    tuple[Annotated[str, _read(check_tag_template)], ...],
    BeforeValidator(_as_list),
    AfterValidator(_each_once),
    Takes("list of tags"),
]
Emulate = Annotated[
    tuple[APlatform, ...] | None,
    BeforeValidator(_as_emulate),
    Takes("list of platforms, or true"),
]
Value = Annotated[str, PlainValidator(_value), Takes("text")]
Arguments = Annotated[
    dict[
        Annotated[str, _read(_argument_name)],
        Annotated[str | dict[Platform, str], PlainValidator(_argument)],
    ],
    Takes("mapping of names to values, or to a value for each platform"),
]
Labels = Annotated[
    dict[Annotated[str, _read(_label_name)], Value], Takes("mapping of labels to texts")
]
AnImage = Annotated[str, _read(_image), Takes("image")]
Command = Annotated[
    tuple[Value, ...], BeforeValidator(_as_argv), AfterValidator(_not_empty), Takes("command")
]
Members = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda value: _as_list([] if value is None else value)),
    Takes("list of names"),
]


# --- sections -----------------------------------------------------------------------------


class Section(BaseModel):
    """A mapping of known keys. A key without a value counts as left out."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        defer_build=True,  # of all sections only those that something is read by are worth it
    )

    short: ClassVar[str | None] = None  # the key that a text instead of the mapping gives

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, data: object) -> object:
        if isinstance(data, str) and cls.short is not None:
            return {cls.short: data}
        if isinstance(data, dict):
            return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}
        return {} if data is None else data


class Registry(Section):
    """Where images go. A text instead of the mapping is its address."""

    short = "address"

    address: Annotated[RegistrySpec, _read(parse_registry), Takes("text")] = Field(
        description="`host[:port][/path]`, `http://...` for one without TLS, or `embedded` for"
        " the registry that fleet runs on the controller."
    )
    prefix: Annotated[str | None, _read(check_repository), Takes("text")] = Field(
        None, description="A path that goes before every image's name."
    )
    plain_http: Annotated[bool | None, _read(_truth), Takes("true or false")] = Field(
        None, description="Speak http to it, without TLS."
    )
    tunnel: Annotated[bool | None, _read(_truth), Takes("true or false")] = Field(
        None,
        description="Carry it to the hosts through their SSH connections, as one that only the"
        " controller reaches needs it; always so for `embedded`.",
    )
    ca: Annotated[str | None, _read(_line), Takes("path")] = Field(
        None, description="The certificate of a private authority, trusted for it alone."
    )


class Mirror(Section):
    """Who is asked first for what a registry holds. A text instead is its address."""

    short = "address"

    address: Annotated[RegistrySpec, _read(parse_mirror), Takes("text")] = Field(
        description="`host[:port][/path]`, or `http://...` for one without TLS."
    )
    plain_http: Annotated[bool | None, _read(_truth), Takes("true or false")] = Field(
        None, description="Speak http to it, without TLS."
    )
    ca: Annotated[str | None, _read(_line), Takes("path")] = Field(
        None, description="The certificate of a private authority, trusted for it alone."
    )


class Provision(Section):
    """A machine that is rented while it is needed. Commands run in the inventory's folder."""

    up: Command = Field(
        description='Rents it, and prints where it is as JSON: `{"address": "user@host:port"}`.'
        " Run when the first job finds no other host free."
    )
    down: Command = Field(
        description="Gives it back; what `up` printed is its input. Always run, also after a"
        " failure or Ctrl-C, and after an `up` that failed."
    )
    timeout: Annotated[float, _read(_some_time), Takes("duration")] = Field(
        600.0, description="For each of them, and for the host to be ready once `up` has ended."
    )


class Host(Section):
    """A build host. A text instead is its address; nothing at all, an alias of ssh_config."""

    short = "address"

    connection: Annotated[Connection, _read(_connection), Takes("ssh or local")] = Field(
        Connection.SSH, description="How it is reached; `local` is the controller itself."
    )
    address: Annotated[Address | None, _read(parse_address), Takes("text")] = Field(
        None,
        description="As ssh takes it: `host`, `user@host:port`, `ssh://user@host:port`, or an"
        " alias of ssh_config. Left out: the host's name.",
    )
    user: Annotated[str | None, _read(_line), Takes("text")] = Field(
        None, description="Whom to log in as; before what ssh_config says."
    )
    port: Annotated[int | None, _read(parse_port), Takes("number")] = Field(
        None, description="The port of its sshd; before what ssh_config says."
    )
    identity_file: Annotated[str | None, _read(_line), Takes("path")] = Field(
        None, description="The private key. Left out: those that ssh would offer."
    )
    slots: Annotated[int, _read(_slots), Takes("number")] = Field(
        1, description="How many builds it runs at the same time."
    )
    platforms: Platforms | None = Field(
        None, description="A limit on the platforms that probing finds, or more than its own."
    )
    # None: every platform that `platforms` names (`emulate: true`)
    emulate: Emulate = Field(
        (), description="Platforms that it may emulate; `true`: all that `platforms` names."
    )
    state: Annotated[str | None, _read(_state), Takes("path")] = Field(
        None, description="fleet's folder on it, instead of the inventory's `state`."
    )
    provision: Provision | None = Field(
        None, description="How it is rented; then `platforms` says what it is, and `up` where."
    )


class Group(Section):
    """A name for several hosts. A list instead of the mapping is its hosts."""

    hosts: Members = Field((), description="Its hosts, and other groups.")
    provision: Provision | None = Field(
        None,
        description="How each of its hosts is rented that says nothing of it itself; `FLEET_HOST`"
        " tells the commands which one is meant.",
    )


class Image(Section):
    """An image to build; nothing at all stands for the defaults."""

    context: Annotated[str | None, _read(_line), Takes("path")] = Field(
        None, description="The build context. Left out: the image's folder under `dockerfiles`."
    )
    dockerfile: Annotated[Text, Takes("path")] = Field(
        "Dockerfile", description="The Dockerfile, relative to the context."
    )
    build_args: Arguments = Field(
        default_factory=dict, description="Build arguments, over the Dockerfile's own defaults."
    )
    labels: Labels = Field(
        default_factory=dict, description="Labels besides those that fleet sets."
    )
    contexts: Annotated[dict[AnImage, AnImage], Takes("mapping of names to images")] = Field(
        default_factory=dict,
        description="What a name in FROM or COPY --from stands for: an image of the inventory, or"
        " any reference.",
    )
    aliases: Annotated[tuple[AnImage, ...], BeforeValidator(_as_list), Takes("list of images")] = (
        Field((), description="Other names by which Dockerfiles mean this image.")
    )
    target: Annotated[str | None, _read(_stage), Takes("text")] = Field(
        None, description="A stage of the Dockerfile. Left out: the last one."
    )
    platforms: Platforms | None = Field(
        None, description="The platforms that it is for, instead of the inventory's."
    )
    smoke: Command | None = Field(
        None,
        description="Must succeed in the image, on the host that built it, before it is pushed.",
    )
    memory_per_job: Annotated[int, _read(_some_size), Takes("size")] = Field(
        1_000_000_000,
        description="What one compiler needs. A Dockerfile that declares `ARG MAKE_JOBS` is given"
        " as many as cores and memory of a slot of its host allow.",
    )
    attempts: Annotated[int | None, _read(_attempts), Takes("number")] = Field(
        None,
        description="How often a step that may pass is tried, in all, instead of `--retries` and"
        " one.",
    )
    allow_partial: Flag = Field(
        False, description="Publish the platforms that are whole where others failed."
    )
    cache: Annotated[LayerCache, _read(_cache), Takes("host or registry")] = Field(
        LayerCache.HOST,
        description="Where a build looks for layers that were made before: on its host, or"
        " (`registry`) in the image of its platform that was published last as well, which is"
        " pulled for it. That helps hosts that stand in for one another, or are new.",
    )
    version: Text | None = Field(
        None, description="What `{version}` in tags stands for, and a label says."
    )
    provenance: Flag = Field(False, description="Keep BuildKit's provenance beside the image.")
    sbom: Flag = Field(False, description="Keep BuildKit's bill of materials beside the image.")
    prepare: Command | None = Field(
        None,
        description="Run on the controller, in the context's folder, before the context is read.",
    )


class Notifying(Section):
    """Who is told of the end of a run."""

    urls: Annotated[Members, Takes("list of URLs")] = Field(
        (),
        description="Where to, as Apprise takes it (`mailto://`, `slack://` ...); `${NAME}` is"
        " filled in from the environment.",
    )
    on: Annotated[tuple[Occasion, ...], BeforeValidator(_as_list), Takes("list of occasions")] = (
        Field(
            DEFAULT_NOTIFY.on,
            description="Of what: `failure`, `recovery`, `partial`, `success`.",
        )
    )
    healthcheck: Annotated[str | None, _read(_web_address), Takes("URL")] = Field(
        None,
        description="Asked at the begin (`/start`), and at the end (as it is, or with `/fail`), as"
        " healthchecks.io has it; `${NAME}` is filled in.",
    )
    textfile: Annotated[str | None, _read(_line), Takes("path")] = Field(
        None,
        description="Figures for the textfile collector of Prometheus's node exporter.",
    )


class Limits(Section):
    """What a run bears before it gives up."""

    build: Duration = Field(DEFAULTS.build, description="One build, from when it has a slot.")
    silence: Duration = Field(DEFAULTS.silence, description="A build that prints nothing.")
    host_wait: Duration = Field(
        DEFAULTS.host_wait, description="A host that was lost and that no other stands in for."
    )
    min_free: Size = Field(
        DEFAULTS.min_free, description="Disk that a build must find on its host."
    )


class File(Section):
    """An inventory file. Paths are relative to its folder."""

    registry: Registry | None = Field(
        None, description="Where images go; there must be one, here or as `--registry`."
    )
    mirrors: dict[RegistryName, Mirror] = Field(
        default_factory=dict,
        description="Pull-through mirrors that the controller asks first, by registry.",
    )
    tags: Tags = Field(
        ("latest",),
        description="Tags of what is published; `{version}`, `{date}` and `{git_sha}` are filled"
        " in.",
    )
    platforms: Platforms | None = Field(
        None, description="Wanted of every image. Left out: what the hosts build natively."
    )
    dockerfiles: Annotated[Text, Takes("path")] = Field(
        "dockerfiles", description="The folder that holds an image's context under its name."
    )
    recipes: Annotated[Members, Takes("list of paths")] = Field(
        (), description="Compose and bake files, whose images are put under `images`."
    )
    ssh_config: Annotated[str | None, _read(_line), Takes("path")] = Field(
        None, description="Instead of `~/.ssh/config`."
    )
    state: Annotated[str, _read(_state), Takes("path")] = Field(
        "~/.cache/fleet", description="fleet's folder on the hosts."
    )
    sign: Command | None = Field(
        None,
        description="Run for each published index; `{reference}`, `{digest}` and `{tag}` are"
        " filled in.",
    )
    record_host: Flag = Field(False, description="Say in the image which host built it.")
    speculate: Flag = Field(
        False,
        description="A job that seems to take much longer than an idle host would, by what history"
        " says, is begun there as well; the first to end well is published.",
    )
    keep_runs: Annotated[int, Takes("number")] = Field(
        100,
        ge=1,
        strict=True,
        description="Runs whose record stays on the controller; older ones are removed.",
    )
    notify: Notifying = Field(
        default_factory=lambda: Notifying.model_validate({}),
        description="Who is told of the end of a run.",
    )
    hosts: dict[HostName, Host] = Field(
        default_factory=dict,
        description="The machines that build, by name; or the path of an Ansible inventory.",
    )
    groups: dict[HostName, Annotated[Group, Takes("list of names, or mapping")]] = Field(
        default_factory=dict, description="Names for several hosts, for `--limit`."
    )
    images: dict[ImageName, Image] | None = Field(
        None,
        description="What is built. Left out: every folder under `dockerfiles` with a Dockerfile.",
    )
    limits: Limits = Field(
        default_factory=lambda: Limits.model_validate({}),
        description="What a run bears before it gives up.",
    )


# --- reading ------------------------------------------------------------------------------

KeyPath = tuple[str, ...]


def read(value: tree.Mapping, problems: tree.Problems) -> tuple[File, frozenset[KeyPath]]:
    """An inventory as far as it is right, and the keys that were not.

    What is wrong goes to ``problems`` and is left out, so that what depends on
    the rest can still be judged.
    """
    data: Any = tree.plain(value)
    bad: set[KeyPath] = set()
    while True:
        try:
            return File.model_validate(data), frozenset(bad)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                if details["type"] != "missing" or details["loc"] not in bad:
                    _report(value, details, problems)
                bad.add(_drop(data, details["loc"]))


def _drop(data: Any, path: Sequence[str | int]) -> KeyPath:
    """Take the innermost key of the path that the data has out of them, and name it."""
    owner, key, trail = data, str(path[0]), [str(path[0])]
    for step in path[1:]:
        inner = owner.get(key)
        if not isinstance(inner, dict) or step not in inner:
            break
        owner, key = inner, str(step)
        trail.append(key)
    owner.pop(key, None)
    return tuple(trail)


def _report(value: tree.Value, details: ErrorDetails, problems: tree.Problems) -> None:
    path, wrong, given = details["loc"], details["type"], details["input"]
    entry = tree.entry_at(value, path)
    name = entry.key
    if wrong == "extra_forbidden":
        problems.add(entry.at, unknown_key(name, _section(path[:-1]).model_fields))
        return
    at = entry.at if path[-1] == "[key]" else entry.value.at
    if isinstance(given, tree.Opaque):
        if given.tag:
            problems.add(given.at, f"the tag {given.tag} means nothing to fleet")
        return
    match wrong:
        case "sentence":
            problems.add(at, details["msg"])
        case "missing":
            problems.add(at, f"{name} lacks {str(path[-1])!r}")
        case "empty":
            problems.add(at, f"{name} is empty; give it a value or leave it out")
        case "text":
            owner = f"an item of {name}" if isinstance(path[-1], int) else name
            problems.add(at, f"{owner} must be a text, not {_kind(given)}")
        case "tuple_type":
            problems.add(at, f"{name} must be a list, not {_kind(given)}")
        case "dict_type" | "model_type":
            text = "a text or " if wrong == "model_type" and _section(path).short else ""
            problems.add(at, f"{name} must be {text}a mapping (`key: value`), not {_kind(given)}")
        case _:
            problems.add(at, f"{name}: {details['msg']}")


def unknown_key(key: str, known: Mapping[str, object]) -> str:
    """The sentence about a key that means nothing here, with the nearest that does."""
    near = did_you_mean(key, known)
    return f"unknown key {key[:80]!r}" + (near or f" (known here: {', '.join(sorted(known))})")


def _section(path: Sequence[str | int]) -> type[Section]:
    match path:
        case ["hosts" | "groups", _, "provision"]:
            return Provision
        case ["hosts", _]:
            return Host
        case ["groups", _]:
            return Group
        case ["images", _]:
            return Image
        case ["registry"]:
            return Registry
        case ["limits"]:
            return Limits
        case ["mirrors", _]:
            return Mirror
        case _:
            return File


def _kind(given: object) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, str):
        return repr(given[:80])
    return "a list" if isinstance(given, list) else "a mapping"
