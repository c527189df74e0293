"""An inventory file as models, or all that is wrong with it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fleet.errors import UsageError
from fleet.inventory import schema, tree
from fleet.inventory.addresses import Address, parse_address, parse_registry
from fleet.inventory.borrowed import with_recipes
from fleet.inventory.files import native_tree
from fleet.models import (
    Attestation,
    Connection,
    HostSpec,
    ImageSpec,
    Inventory,
    Limits,
    Location,
    Notify,
    Pairs,
    Preparation,
    Provision,
    RegistrySpec,
    pairs,
)
from fleet.platforms import Platform
from fleet.references import check_repository, check_tag_template, placeholders
from fleet.suggest import did_you_mean

DEFAULT_NAME = "inventory.yml"


def load(path: Path, *, registry: str | None = None, tags: tuple[str, ...] = ()) -> Inventory:
    """Read an inventory in fleet's native form or in Ansible's YAML form.

    ``registry`` and ``tags`` stand instead of the file's. Raises InventoryError
    with everything that is wrong in the file, and UsageError where there is no
    file to read or ``registry`` or ``tags`` are malformed.
    """
    instead = None if registry is None else _registry_option(registry)
    for tag in tags:
        check_tag_template(tag)
    problems = tree.Problems()
    native = native_tree(path, problems)
    native = with_recipes(native, path.parent, os.environ, problems)
    file, bad = schema.read(native, problems)
    inventory = _Making(path, native, file, bad, problems).inventory(instead, tags)
    problems.raise_if_any()
    return replace(inventory, warnings=problems.warnings)


def _registry_option(text: str) -> RegistrySpec:
    try:
        return parse_registry(text)
    except UsageError as error:
        raise UsageError(f"--registry: {error.message}", hint=error.hint) from None


# --- models -------------------------------------------------------------------------------


class _Making:
    """Makes the models, and finds what is wrong between parts that are right by themselves."""

    def __init__(
        self,
        path: Path,
        native: tree.Mapping,
        file: schema.File,
        bad: frozenset[schema.KeyPath],
        problems: tree.Problems,
    ) -> None:
        self._path = path
        self._native = native
        self._file = file
        self._bad = bad
        self._problems = problems

    def inventory(self, registry: RegistrySpec | None, tags: tuple[str, ...]) -> Inventory:
        names = tuple(self._names("hosts"))
        groups = self._groups(names)
        written = self._registry()
        if registry is None and written is None and ("registry",) not in self._bad:
            self._problems.add(
                self._native.at,
                "no registry: `registry: embedded` is fleet's own, --registry names another"
                " (an Ansible inventory has it under `all: vars: fleet:`)",
            )
        if not names and not self._is_bad("hosts"):
            self._problems.add(self._at("hosts"), "no hosts: `hosts` names the machines that build")
        tags = tuple(dict.fromkeys(tags)) or self._file.tags
        images = tuple(self._images())
        self._check_versions(images, tags)
        if registry is not None and written is not None and registry.address == written.address:
            registry = replace(registry, ca=written.ca)
        return Inventory(
            path=self._path,
            registry=registry or written or RegistrySpec(address=None),
            tags=tags,
            hosts=tuple(self._host(name, host, groups) for name, host in self._file.hosts.items()),
            images=images,
            groups=tuple(groups.items()),
            platforms=self._file.platforms,
            ssh_config=self._ssh_config(),
            limits=Limits(**self._file.limits.model_dump()),
            sign=self._file.sign,
            record_host=self._file.record_host,
            speculate=self._file.speculate,
            keep_runs=self._file.keep_runs,
            notify=self._notify(),
            mirrors=tuple(self._mirrors()),
        )

    def _notify(self) -> Notify:
        told = self._file.notify
        textfile = self._path.parent / Path(told.textfile).expanduser() if told.textfile else None
        return Notify(urls=told.urls, on=told.on, healthcheck=told.healthcheck, textfile=textfile)

    def _check_versions(self, images: tuple[ImageSpec, ...], tags: tuple[str, ...]) -> None:
        """A tag that names the version needs one of every image."""
        wanting = [tag for tag in tags if "version" in placeholders(tag)]
        for image in images if wanting else ():
            if image.version is None and image.location is not None:
                self._problems.add(
                    image.location,
                    f"{image.name} lacks a `version:`, which the tag {wanting[0]!r} names",
                )

    # --- places ---------------------------------------------------------------------------

    def _at(self, *path: str) -> Location:
        """Where a value stands."""
        return tree.entry_at(self._native, path).value.at

    def _key_at(self, *path: str) -> Location:
        """Where a key stands."""
        return tree.entry_at(self._native, path).at

    def _names(self, section: str) -> Iterator[str]:
        """The keys of a section, right or wrong."""
        entry = self._native.entries.get(section)
        if entry is not None and isinstance(entry.value, tree.Mapping):
            yield from entry.value.entries

    def _is_bad(self, *path: str) -> bool:
        """Whether a value, or part of it, or what it is part of, was left out as wrong."""
        return any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in self._bad)

    def _local(self, text: str) -> Path:
        """A path on the controller; relative ones start at the inventory's folder."""
        return self._path.parent / os.path.expanduser(text)

    def _ssh_config(self) -> Path | None:
        if self._file.ssh_config is None:
            return None
        path = self._local(self._file.ssh_config)
        if lack := _lack(path, folder=False):
            self._problems.add(self._at("ssh_config"), f"the ssh_config {path} {lack}")
        return path

    # --- registry -------------------------------------------------------------------------

    def _registry(self) -> RegistrySpec | None:
        written = self._file.registry
        if written is None:
            return None
        spec = written.address
        if written.prefix is not None:
            if spec.prefix:
                self._problems.add(
                    self._at("registry", "prefix"),
                    "the address has a path already; name one of them",
                )
            spec = replace(spec, prefix=written.prefix)
        for key in ("plain_http", "tunnel"):
            value = getattr(written, key)
            if value is False and spec.embedded:
                self._problems.add(
                    self._at("registry", key),
                    "the embedded registry speaks plain http and is carried to the hosts, always",
                )
            elif value is not None:
                spec = replace(spec, **{key: value})
        if written.ca is not None and spec.embedded:
            at = self._key_at("registry", "ca")
            self._problems.add(at, "ca means nothing with the embedded registry: it has no TLS")
            return spec
        return replace(spec, ca=self._ca(written.ca, "registry"))

    def _mirrors(self) -> Iterator[tuple[str, RegistrySpec]]:
        for name, mirror in self._file.mirrors.items():
            spec = replace(mirror.address, ca=self._ca(mirror.ca, "mirrors", name))
            if mirror.plain_http is not None:
                spec = replace(spec, plain_http=mirror.plain_http)
            yield name, spec

    def _ca(self, written: str | None, *section: str) -> Path | None:
        if written is None:
            return None
        path = self._local(written)
        if lack := _lack(path, folder=False):
            self._problems.add(self._at(*section, "ca"), f"the certificate {path} {lack}")
        return path

    # --- hosts ----------------------------------------------------------------------------

    def _host(
        self, name: str, host: schema.Host, groups: Mapping[str, tuple[str, ...]]
    ) -> HostSpec:
        address = self._address(name, host, groups)
        return HostSpec(
            name=name,
            connection=host.connection,
            address=address.host,
            user=address.user,
            port=address.port,
            identity_file=None if host.identity_file is None else self._local(host.identity_file),
            slots=host.slots,
            platforms=host.platforms,
            emulate=self._emulate(name, host),
            state=host.state or self._file.state,
            provision=self._provision(name, host, groups),
            groups=tuple(group for group, members in groups.items() if name in members),
            location=self._key_at("hosts", name),
        )

    def _provisioning(
        self, name: str, host: schema.Host, groups: Mapping[str, tuple[str, ...]]
    ) -> dict[tuple[str, str], schema.Provision]:
        """How a host is rented, by where that stands: its own word, else that of its groups."""
        if host.provision is not None:
            return {("hosts", name): host.provision}
        if self._is_bad("hosts", name, "provision"):
            return {}
        found = {("groups", group): self._file.groups[group].provision for group in groups}
        return {
            (section, group): provision
            for (section, group), provision in found.items()
            if provision is not None and name in groups[group]
        }

    def _provision(
        self, name: str, host: schema.Host, groups: Mapping[str, tuple[str, ...]]
    ) -> Provision | None:
        found = self._provisioning(name, host, groups)
        if not found:
            return None
        where, *others = found
        for other in others:
            self._problems.add(
                self._key_at(*other, "provision"),
                f"{name!r} is rented by the group {where[1]!r} already (line"
                f" {self._key_at(*where, 'provision').line}); give it a `provision` of its own",
            )
        if host.connection is Connection.LOCAL:
            self._problems.add(
                self._key_at("hosts", name, "connection"),
                "`connection: local` is this machine, which cannot be rented",
            )
        elif host.platforms is None and not self._is_bad("hosts", name, "platforms"):
            self._problems.add(
                self._key_at("hosts", name),
                f"{name!r} needs `platforms`, such as [linux/arm64]: a host that is rented cannot"
                " be probed before it is up",
            )
        return Provision(
            **found[where].model_dump(),
            folder=self._path.parent.absolute(),
            location=self._key_at(*where, "provision"),
        )

    def _address(
        self, name: str, host: schema.Host, groups: Mapping[str, tuple[str, ...]]
    ) -> Address:
        given = {
            key: getattr(host, key)
            for key in ("address", "user", "port", "identity_file")
            if getattr(host, key) is not None
        }
        if host.connection is Connection.LOCAL:
            for key in given:
                self._problems.add(
                    self._key_at("hosts", name, key),
                    f"{key} means nothing with `connection: local`",
                )
            return Address(host="")
        address = host.address
        if self._provisioning(name, host, groups):
            if address is not None:
                self._problems.add(
                    self._key_at("hosts", name, "address"),
                    "address means nothing with `provision`, whose `up` prints it",
                )
            return Address(host="", user=host.user, port=host.port)
        if address is None:
            if self._is_bad("hosts", name, "address"):
                return Address(host="")
            try:
                address = parse_address(name)
            except UsageError:
                self._problems.add(
                    self._key_at("hosts", name), f"{name!r} needs an `address`; its name is none"
                )
                return Address(host="")
        for key in ("user", "port"):
            own, within = given.get(key), getattr(address, key)
            if own is not None and within is not None and own != within:
                self._problems.add(
                    self._key_at("hosts", name, key),
                    f"the address names another {key} ({within}); leave one of them out",
                )
        return Address(
            host=address.host,
            user=address.user or host.user,
            port=address.port or host.port,
        )

    def _emulate(self, name: str, host: schema.Host) -> tuple[Platform, ...]:
        at = self._at("hosts", name, "emulate")
        if host.emulate is None:
            if host.platforms is None and not self._is_bad("hosts", name, "platforms"):
                self._problems.add(
                    at,
                    "`emulate: true` needs `platforms` beside it;"
                    " or name them: `emulate: [linux/arm/v7]`",
                )
            return host.platforms or ()
        if host.platforms is not None:
            for platform in host.emulate:
                if platform not in host.platforms:
                    self._problems.add(at, f"`platforms` beside it leaves {platform} out")
        return host.emulate

    # --- groups ---------------------------------------------------------------------------

    def _groups(self, hosts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """Each group with its hosts, those of nested groups among them, in inventory order."""
        groups = {name: group.hosts for name, group in self._file.groups.items()}
        known = {*hosts, *self._names("groups")}
        for name, members in groups.items():
            if name in hosts:
                self._problems.add(
                    self._key_at("groups", name),
                    f"{name!r} is a host already (line {self._key_at('hosts', name).line})",
                )
            for number, member in enumerate(members):
                if member not in known and ("hosts",) not in self._bad:
                    self._problems.add(
                        tree.entry_at(self._native, ("groups", name, "hosts", number)).value.at,
                        f"no host or group is called {member!r}{did_you_mean(member, known)}",
                    )
        self._refuse_cycles(groups)
        return {name: self._members(name, hosts, groups) for name in groups}

    def _members(
        self, group: str, hosts: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]
    ) -> tuple[str, ...]:
        found: set[str] = set()
        waiting = [group]
        while waiting:
            for member in groups.get(waiting.pop(), ()):
                if member not in found:
                    found.add(member)
                    waiting.append(member)
        return tuple(host for host in hosts if host in found)

    def _refuse_cycles(self, groups: Mapping[str, tuple[str, ...]]) -> None:
        """Depth first; a group that is met again on its own way holds itself."""
        done: set[str] = set()
        for first in groups:
            way: dict[str, Iterator[str]] = {} if first in done else {first: iter(groups[first])}
            while way:
                name, members = next(reversed(way.items()))
                member = next(members, None)
                if member is None:
                    done.add(name)
                    way.popitem()
                elif member in way:
                    names = list(way)
                    circle = " -> ".join([*names[names.index(member) :], member])
                    self._problems.add(
                        self._key_at("groups", member), f"a group holds itself: {circle}"
                    )
                elif member in groups and member not in done:
                    way[member] = iter(groups[member])

    # --- images ---------------------------------------------------------------------------

    def _images(self) -> Iterator[ImageSpec]:
        if self._is_bad("dockerfiles"):
            return
        folder = self._local(self._file.dockerfiles)
        if self._file.images is None:
            if not self._is_bad("images"):
                yield from self._found_images(folder)
            return
        if not any(self._names("images")):
            self._problems.add(
                self._at("images"),
                f"images is empty; leave it out to build every folder under {folder}/",
            )
        for name, image in self._file.images.items():
            yield self._image(name, image, folder)

    def _image(self, name: str, image: schema.Image, folder: Path) -> ImageSpec:
        key = ("images", name)
        context = folder / name if image.context is None else self._local(image.context)
        dockerfile = context / image.dockerfile
        self._check_paths(key, context, dockerfile)
        return ImageSpec(
            name=name,
            context=context,
            dockerfile=dockerfile,
            build_args=pairs({k: v for k, v in image.build_args.items() if isinstance(v, str)}),
            platform_args=_platform_args(image.build_args),
            labels=pairs(image.labels),
            contexts=pairs(image.contexts),
            aliases=image.aliases,
            target=image.target,
            platforms=image.platforms,
            smoke=image.smoke,
            attempts=image.attempts,
            memory_per_job=image.memory_per_job,
            allow_partial=image.allow_partial,
            cache=image.cache,
            version=image.version,
            attestations=tuple(kind for kind in Attestation if getattr(image, kind.value)),
            prepare=self._preparation(key, image, context),
            location=self._key_at(*key),
        )

    def _preparation(
        self, key: tuple[str, str], image: schema.Image, context: Path
    ) -> Preparation | None:
        if image.prepare is None:
            return None
        at = self._at(*key, "prepare")
        return Preparation(command=image.prepare, folder=context, location=at)

    def _check_paths(self, image: tuple[str, str], context: Path, dockerfile: Path) -> None:
        if self._is_bad(*image, "context"):
            return  # then there is no telling where the Dockerfile is
        # The place of a key that was left out is that of the image's section.
        if lack := _lack(context, folder=True):
            self._problems.add(self._at(*image, "context"), f"the build context {context} {lack}")
        elif not self._is_bad(*image, "dockerfile") and (lack := _lack(dockerfile, folder=False)):
            at = self._at(*image, "dockerfile")
            self._problems.add(at, f"the Dockerfile {dockerfile} {lack}")

    def _found_images(self, folder: Path) -> Iterator[ImageSpec]:
        at = self._at("dockerfiles")
        if "dockerfiles" in self._native.entries and (lack := _lack(folder, folder=True)):
            self._problems.add(at, f"the folder {folder} {lack}")
            return
        try:
            names = image_folders(folder)
        except UsageError as error:
            self._problems.add(at, error.message)
            return
        for name in names:
            try:
                check_repository(name)
            except UsageError as error:
                self._problems.add(
                    at,
                    f"the folder {folder / name} cannot be an image, for {schema.one_line(error)};"
                    " under `images` it can have another name",
                )
                continue
            context = folder / name
            yield ImageSpec(
                name=name, context=context, dockerfile=context / "Dockerfile", location=at
            )


def _platform_args(
    arguments: Mapping[str, str | Mapping[Platform, str]],
) -> tuple[tuple[Platform, Pairs], ...]:
    """The build arguments that have a value for each platform, by platform."""
    found: dict[Platform, dict[str, str]] = {}
    for name, values in arguments.items():
        if not isinstance(values, str):
            for platform, value in values.items():
                found.setdefault(platform, {})[name] = value
    return tuple((platform, pairs(found[platform])) for platform in sorted(found))


def image_folders(folder: Path) -> list[str]:
    """The folders in ``folder`` that have a Dockerfile, by name, hidden ones left out.

    None where there is no such folder. Raises UsageError where it cannot be read.
    """
    try:
        return sorted(
            entry.name
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and _lack(entry / "Dockerfile", folder=False) is None
        )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be read ({_reason(error)})") from None


def _lack(path: Path, *, folder: bool) -> str | None:
    """Why a path is not the file or folder that it should be, in words that follow its name."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is not there"
    except (OSError, ValueError) as error:
        return f"cannot be read ({_reason(error)})"
    if folder:
        return None if stat.S_ISDIR(mode) else "is not a folder"
    return "is a folder" if stat.S_ISDIR(mode) else None


def _reason(error: OSError | ValueError) -> str:
    return ((isinstance(error, OSError) and error.strerror) or str(error)).lower()
