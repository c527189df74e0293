"""What a Dockerfile builds on: stages, and the images that they need.

Stages, names and ARGs are resolved as BuildKit resolves them: only the stages
that the target needs are built, so only their images count; a FROM sees the
ARGs declared before the first FROM and the platform ARGs; ``COPY --from`` and
``RUN --mount=from`` expand no variables at all. A named context stands for an
image wherever that name, or another spelling of it, is built on. An ONBUILD trigger counts
where another stage of the same file is built on its stage, not otherwise: then
it is only text in the image's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.errors import InvalidPlatform, InvalidReference, Problem, RecipeError
from fleet.platforms import Platform
from fleet.recipes.expansion import BadSubstitution, expand
from fleet.recipes.syntax import Flag, Fragment, Instruction, Source, raise_any, scan
from fleet.references import DOCKER_HUB, Reference
from fleet.suggest import did_you_mean

SCRATCH = "scratch"

_KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
    *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
    "WORKDIR",
)
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_FIELD = re.compile(r"[^,]+")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An ARG before the first FROM."""

    name: str
    default: Fragment | None


@dataclass(frozen=True, kw_only=True)
class Borrowed:
    """A stage or an image that a COPY or a RUN takes files from."""

    name: Fragment
    keyword: str

    @property
    def number(self) -> int | None:
        """The stage's number, where it is one."""
        return int(self.name.text) if _NUMBER.fullmatch(self.name.text) else None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A FROM and what follows it. ``triggers`` are borrowed by the stages built on it."""

    name: str | None
    base: Fragment
    platform: Fragment | None
    borrowed: tuple[Borrowed, ...]
    triggers: tuple[Borrowed, ...]


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """A Dockerfile, read; nothing in it is expanded yet."""

    source: Source
    escape: str
    arguments: tuple[Argument, ...]
    stage_arguments: Mapping[str, int]  # declared inside a stage -> line
    stages: tuple[Stage, ...]


@dataclass(frozen=True, kw_only=True)
class Use:
    """An image that a build needs, and where its name stands in the file.

    ``named`` says that the name in the file is that of a context, and ``written``
    what it stands for.
    """

    written: str  # with its ARGs expanded
    start: int
    end: int
    foundation: bool = False  # the image that is made consists of it and what is added
    named: bool = False


def load(path: Path) -> Dockerfile:
    """Read a Dockerfile. Raises RecipeError with all that is wrong with it."""

    def fail(message: str) -> RecipeError:
        return RecipeError([Problem(file=path, line=0, column=0, message=message)])

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise fail("there is no such Dockerfile") from None
    except OSError as error:
        raise fail(f"cannot be read: {error.strerror}") from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        place = Source(path=path, text=before + "?").problem(
            len(before), f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        )
        raise RecipeError([place]) from None
    return parse(Source(path=path, text=text))


def parse(source: Source) -> Dockerfile:
    """Read a Dockerfile's text. Raises RecipeError with all that is wrong with it."""
    problems: list[Problem] = []
    script = scan(source, problems)
    # A frontend of somebody else's may know other instructions.
    strict = script.syntax is None or "docker/dockerfile" in script.syntax
    builder = _Builder(source, script.escape, problems, strict=strict)
    for instruction in script.instructions:
        builder.add(instruction)
    dockerfile = builder.end()
    raise_any(problems)
    return dockerfile


class _Builder:
    """Collects stages from instructions."""

    def __init__(
        self, source: Source, escape: str, problems: list[Problem], *, strict: bool
    ) -> None:
        self.source = source
        self.escape = escape
        self.problems = problems
        self.strict = strict
        self.arguments: list[Argument] = []
        self.stage_arguments: dict[str, int] = {}
        self.stages: list[tuple[str | None, Fragment, Fragment | None]] = []
        self.borrowed: list[list[Borrowed]] = []
        self.triggers: list[list[Borrowed]] = []

    def problem(self, offset: int, message: str) -> None:
        self.problems.append(self.source.problem(offset, message))

    def add(self, instruction: Instruction) -> None:
        keyword = instruction.keyword
        if keyword not in _KEYWORDS:
            if self.strict:
                self._unknown(instruction)
        elif keyword == "FROM":
            self._from(instruction)
        elif keyword == "ARG":
            self._arg(instruction)
        elif not self.stages:
            self.problem(instruction.start, f"{keyword} before the first FROM")
        elif keyword == "ONBUILD":
            self._onbuild(instruction)
        else:
            self.borrowed[-1] += self._borrowed(instruction)

    def end(self) -> Dockerfile:
        if not self.stages and not self.problems:
            text = self.source.text.strip("\ufeff \t\r\n")
            message = "no FROM: there is nothing to build" if text else "the Dockerfile is empty"
            self.problems.append(Problem(file=self.source.path, line=0, column=0, message=message))
        parts = zip(self.stages, self.borrowed, self.triggers, strict=True)
        return Dockerfile(
            source=self.source,
            escape=self.escape,
            arguments=tuple(self.arguments),
            stage_arguments=self.stage_arguments,
            stages=tuple(
                Stage(
                    name=name,
                    base=base,
                    platform=platform,
                    borrowed=tuple(borrowed),
                    triggers=tuple(triggers),
                )
                for (name, base, platform), borrowed, triggers in parts
            ),
        )

    def _unknown(self, instruction: Instruction) -> None:
        keyword = instruction.keyword
        near = did_you_mean(keyword, _KEYWORDS)
        self.problem(instruction.start, f"unknown instruction {keyword!r}{near}")

    def _from(self, instruction: Instruction) -> None:
        words = instruction.arguments.words()
        named = len(words) == 3 and words[1].text.upper() == "AS"
        if not named and len(words) != 1:
            self.problem(
                instruction.start, "FROM takes an image, or an image, AS and a name for the stage"
            )
            words = words[:1] or [instruction.arguments]
        name = words[2].text.lower() if named else None
        if name is not None and not _STAGE_NAME.fullmatch(name):
            self.problem(
                words[2].start,
                f"{words[2].text!r} cannot name a stage: a name is a letter, then letters, "
                "digits, _ . or -",
            )
        earlier = next((base for other, base, _ in self.stages if name and other == name), None)
        if earlier is not None:
            line = self.source.line(earlier.start)
            self.problem(words[2].start, f"the stage {name} is there already, on line {line}")
        platform = None
        for flag in instruction.flags:
            if flag.name == "platform" and flag.value is not None:
                platform = flag.value
            else:
                self.problem(flag.start, f"FROM has no flag --{flag.name} of this form")
        self.stages.append((name, words[0], platform))
        self.borrowed.append([])
        self.triggers.append([])

    def _arg(self, instruction: Instruction) -> None:
        mark = re.escape(self.escape)
        word = re.compile(
            rf"""(?:'[^']*'?|"(?:{mark}.|[^"{mark}])*"?|{mark}.|[^\s'"{mark}]|{mark}\Z)+""",
            re.DOTALL,
        )
        words = instruction.arguments.matches(word)
        if not words:
            self.problem(instruction.start, "ARG names no variable")
        for fragment in words:
            name, equals, _ = fragment.text.partition("=")
            if not name:
                self.problem(fragment.start, "ARG names no variable before the =")
            elif self.stages:
                self.stage_arguments.setdefault(name, self.source.line(fragment.start))
            else:
                default = fragment[len(name) + 1 :] if equals else None
                self.arguments.append(Argument(name=name, default=default))

    def _onbuild(self, instruction: Instruction) -> None:
        trigger = instruction.trigger
        if trigger is None or trigger.keyword in ("", "FROM", "MAINTAINER"):
            self.problem(instruction.start, "ONBUILD takes an instruction, other than FROM")
        elif trigger.keyword not in _KEYWORDS:
            self._unknown(trigger)
        else:
            self.triggers[-1] += self._borrowed(trigger)

    def _borrowed(self, instruction: Instruction) -> list[Borrowed]:
        found = []
        for flag in instruction.flags:
            name = None
            if instruction.keyword == "COPY" and flag.name == "from":
                name = flag.value
                if name is None:
                    self.problem(flag.start, "--from names no stage or image")
            elif instruction.keyword == "RUN" and flag.name == "mount":
                name = _mount_source(flag)
            if name is not None and name.text and self._plain(name):
                found.append(Borrowed(name=name, keyword=instruction.keyword))
        return found

    def _plain(self, name: Fragment) -> bool:
        """Whether a name can be looked up as it stands, and replaced where it stands."""
        if "$" in name.text:
            self.problem(
                name.start,
                f"variables are not expanded here ({name.text}): name a stage, and give that "
                "stage the image (`FROM image:$ARG AS name`)",
            )
            return False
        if self.source.text[name.start : name.end] != name.text:
            self.problem(name.start, f"write {name.text} without quotes and escapes in it")
            return False
        return True


def _mount_source(flag: Flag) -> Fragment | None:
    """The value of ``from=`` in a ``--mount``."""
    for field in flag.value.matches(_FIELD) if flag.value else ():
        key, equals, _ = field.text.partition("=")
        if equals and key.lower() == "from":
            return field[len(key) + 1 :]
    return None


# --- for one platform ---------------------------------------------------------------------


def uses(
    dockerfile: Dockerfile,
    platform: Platform,
    *,
    build_args: Mapping[str, str],
    target: str | None,
    contexts: Mapping[str, str] | None = None,
) -> tuple[Use, ...]:
    """The images from outside this file that a build of the target needs, in file order.

    ``contexts`` go from a name to the image that it stands for. The build is native,
    so the BUILD ARGs equal the TARGET ARGs. Raises RecipeError with all that is wrong.
    """
    return _Resolution(dockerfile, platform, build_args, target, contexts or {}).run()


def _familiar(name: str) -> str:
    """A name as contexts are looked up by: ``docker.io/library/debian:latest`` is ``debian``."""
    try:
        reference = Reference.parse(name)
    except InvalidReference:
        return name
    if reference.registry == DOCKER_HUB:
        path = reference.repository.removeprefix("library/")
    else:
        path = reference.name
    tag = "" if reference.tag in (None, "latest") else f":{reference.tag}"
    return path + tag + (f"@{reference.digest}" if reference.digest else "")


class _Resolution:
    def __init__(
        self,
        dockerfile: Dockerfile,
        platform: Platform,
        build_args: Mapping[str, str],
        target: str | None,
        contexts: Mapping[str, str],
    ) -> None:
        self.file = dockerfile
        self.platform = platform
        self.build_args = build_args
        self.target = target
        self.contexts = {_familiar(name): image for name, image in contexts.items()}
        self.problems: list[Problem] = []
        self.names = {stage.name: i for i, stage in enumerate(dockerfile.stages) if stage.name}
        # Per stage: the stages it needs, and the images.
        self.stages: list[set[int]] = []
        self.images: list[list[Use]] = []

    def run(self) -> tuple[Use, ...]:
        values = self._global_values()
        self._refuse_stages_as_contexts()
        bases: list[int | None] = []  # per stage: the stage of this file that it is built on
        for index, stage in enumerate(self.file.stages):
            written = self._expanded(stage.base, values)
            base = self.names.get(written, index) if written is not None else index
            bases.append(base if base < index else None)
            self.stages.append({base} if base < index else set())
            self.images.append([])
            if base >= index and written not in (None, SCRATCH):
                self._image(index, written, stage.base)
        for index, stage in enumerate(self.file.stages):
            below = bases[index]
            inherited = () if below is None else self.file.stages[below].triggers
            for borrowed in (*inherited, *stage.borrowed):
                self._borrow(index, borrowed)
        needed = self._needed()
        for index in sorted(needed):
            self._check_platform(self.file.stages[index], values)
        raise_any(self.problems)
        bottom = self._target()
        while bottom is not None and bases[bottom] is not None:
            bottom = bases[bottom]
        found = (
            replace(use, foundation=True)
            if index == bottom and use.start == self.file.stages[index].base.start
            else use
            for index in sorted(needed)
            for use in self.images[index]
        )
        return tuple(sorted(found, key=lambda use: use.start))

    def _problem(self, offset: int, message: str) -> None:
        self.problems.append(self.file.source.problem(offset, message))

    def _refuse_stages_as_contexts(self) -> None:
        """BuildKit would put the context in the stage's place, whatever the stage says."""
        for stage in self.file.stages:
            if stage.name in self.contexts:
                self._problem(
                    stage.base.start,
                    f"the stage {stage.name} is called like a context of this image, and fleet "
                    "does not put images in the place of stages: rename one of them",
                )

    def _global_values(self) -> dict[str, str]:
        """The variables that a FROM sees."""
        target = self.target or self.file.stages[-1].name or "default"
        values = {"TARGETSTAGE": target}
        for side in ("BUILD", "TARGET"):
            values[f"{side}PLATFORM"] = str(self.platform)
            values[f"{side}OS"] = self.platform.os
            values[f"{side}OSVERSION"] = ""
            values[f"{side}ARCH"] = self.platform.architecture
            values[f"{side}VARIANT"] = self.platform.variant or ""
        values |= {name: self.build_args[name] for name in values if name in self.build_args}
        for argument in self.file.arguments:
            if argument.name in self.build_args:
                values[argument.name] = self.build_args[argument.name]
            elif argument.default is not None:
                default = self._expanded(argument.default, values, unset_is_fine=True)
                values[argument.name] = default or ""
        return values

    def _expanded(
        self, word: Fragment, values: Mapping[str, str], *, unset_is_fine: bool = False
    ) -> str | None:
        """A word with its variables replaced; None, and a problem, where that fails."""

        def place(index: int) -> int:
            return word[index:].start

        try:
            expansion = expand(word.text, values, escape=self.file.escape)
        except BadSubstitution as error:
            self._problem(place(error.index), f"{error.message} in {word.text}")
            return None
        if unset_is_fine or not expansion.unset:
            return expansion.value
        for name, index in expansion.unset:
            self._problem(place(index), self._unset(name, values))
        return None

    def _unset(self, name: str, values: Mapping[str, str]) -> str:
        inside = self.file.stage_arguments.get(name)
        if any(argument.name == name for argument in self.file.arguments):
            return (
                f"ARG {name} has no value: give it a default (`ARG {name}=...`), "
                "or a value under `build_args:` in the inventory"
            )
        if name in self.build_args:
            return (
                f"{name} is in `build_args:` but not declared: put `ARG {name}` before the "
                "first FROM"
            )
        if inside is not None:
            return (
                f"ARG {name} is declared on line {inside}, inside a stage: a FROM sees only "
                "what is declared before the first FROM"
            )
        near = did_you_mean(name, sorted(values))
        return (
            f"no ARG {name} is declared before the first FROM{near}: put `ARG {name}=...` "
            f"there, or `ARG {name}` and a value under `build_args:` in the inventory"
        )

    def _image(self, stage: int, written: str, place: Fragment) -> None:
        image = self.contexts.get(_familiar(written))
        if image is not None:
            use = Use(written=image, start=place.start, end=place.end, named=True)
            self.images[stage].append(use)
            return
        try:
            Reference.parse(written)
        except InvalidReference as error:
            lower = written.lower()
            hint = f"; the stage is called {lower}" if lower in self.names else ""
            source = f" (from {place.text})" if place.text != written else ""
            self._problem(place.start, f"{error.message}{source}{hint}")
            return
        self.images[stage].append(Use(written=written, start=place.start, end=place.end))

    def _borrow(self, index: int, borrowed: Borrowed) -> None:
        name = borrowed.name
        source = self.names.get(name.text.lower())
        if borrowed.number is not None:
            if borrowed.keyword == "RUN":
                self._problem(name.start, "RUN --mount takes a stage by its name, not its number")
                return
            source = borrowed.number
        if source is None:
            if name.text != SCRATCH:
                self._image(index, name.text, name)
        elif 0 <= source < index:
            self.stages[index].add(source)
        else:
            self._problem(name.start, f"no stage {name.text} comes before this one")

    def _target(self) -> int | None:
        """The stage that is to be built; None where there is none of that name."""
        if self.target is None:
            return len(self.file.stages) - 1
        return self.names.get(self.target.lower())

    def _needed(self) -> set[int]:
        """The stages that are built for the target."""
        target = self._target()
        if target is None:
            named = ", ".join(self.names) or "none has a name"
            self.problems.append(
                Problem(
                    file=self.file.source.path,
                    line=0,
                    column=0,
                    message=f"no stage is called {self.target}, the target (stages: {named})",
                )
            )
            return set()
        needed, new = set[int](), [target]
        while new:
            stage = new.pop()
            needed.add(stage)
            new += self.stages[stage] - needed
        return needed

    def _check_platform(self, stage: Stage, values: Mapping[str, str]) -> None:
        """A stage of another platform would run emulated, or with the wrong base."""
        if stage.platform is None:
            return
        written = self._expanded(stage.platform, values)
        if written is None:
            return
        try:
            platform = Platform.parse(written)
        except InvalidPlatform as error:
            self._problem(stage.platform.start, error.message)
            return
        if platform != self.platform:
            self._problem(
                stage.platform.start,
                f"this stage is for {platform}, but is needed to build for {self.platform}, and "
                "hosts build natively: write --platform=$BUILDPLATFORM, or limit the image "
                "with `platforms:` in the inventory",
            )
