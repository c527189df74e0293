"""What ``fleet init`` finds by itself: nothing is asked, and no other machine is connected to."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from fleet import inventory
from fleet.app.connecting import probe_hosts
from fleet.app.office import unheard
from fleet.errors import FleetError
from fleet.hosts.config import aliases
from fleet.models import Connection, HostReport, HostSpec, Inventory, RegistrySpec
from fleet.registry import CredentialStore
from fleet.run.provenance import source_of
from fleet.run.retry import Policy

# Who hosts git repositories builds no images for anybody who logs in by ssh.
_FORGES = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})
_REGISTRIES = {"github.com": "ghcr.io", "gitlab.com": "registry.gitlab.com"}


def look_around(folder: Path) -> inventory.Found:
    """What a folder and this machine seem to have. Raises UsageError for an unreadable folder."""
    report = _this_machine(folder)
    recipes, aside = inventory.find_recipes(folder)
    return inventory.Found(
        images=inventory.find_images(folder, besides=recipes),
        recipes=recipes,
        aside=aside,
        engine=_engine(report),
        lack=report.error.message.removeprefix("here: ") if report.error else None,
        aliases=tuple(name for name in _aliases() if name not in _FORGES),
        registries=_registries(folder),
    )


def _this_machine(folder: Path) -> HostReport:
    here = HostSpec(name="here", connection=Connection.LOCAL)
    alone = Inventory(
        path=folder / inventory.DEFAULT_NAME,
        registry=RegistrySpec(address=None),
        tags=(),
        hosts=(here,),
        images=(),
    )
    with ExitStack() as stack:
        ((report,), _) = probe_hosts(alone, (here,), stack, unheard, policy=Policy(attempts=1))
    return report


def _engine(report: HostReport) -> str | None:
    if report.facts is None:
        return None
    facts = report.facts
    own = f", builds {facts.own}" if facts.own else ""
    return f"{facts.system}, {facts.cores} cores, Docker {facts.engine.version}{own}"


def _aliases() -> tuple[str, ...]:
    with suppress(FleetError):
        return aliases(Path.home() / ".ssh" / "config")
    return ()


def _registries(folder: Path) -> tuple[tuple[str, bool], ...]:
    """Addresses to propose, and whether there are credentials for each.

    They are the registry that belongs to the forge of the git remote, and those
    that somebody logged in to on this machine.
    """
    logged_in: tuple[str, ...] = ()
    with suppress(FleetError):
        logged_in = CredentialStore().registries()
    forge, path = source_of(folder)
    owner = path.split("/")[0].lower()
    proposed = {}
    if forge in _REGISTRIES and owner:
        registry = _REGISTRIES[forge]
        # GitLab keeps images by project, GitHub by owner.
        where = path.lower() if registry == "registry.gitlab.com" else owner
        proposed[f"{registry}/{where}"] = registry in logged_in
    begun = {address.partition("/")[0] for address in proposed}
    proposed |= {f"{name}/{owner or 'team'}": True for name in logged_in if name not in begun}
    return tuple(proposed.items())
