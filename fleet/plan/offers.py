"""What the hosts of a run offer, platform by platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.models import HostReport, Inventory
from fleet.platforms import Platform


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The hosts that may build for one platform, in inventory order, and why others may not."""

    native: tuple[str, ...]
    emulating: tuple[str, ...]  # because the inventory allows it
    refusals: str  # for people: `pi-1: no route to host; a, b: no AArch32 state`

    @property
    def hosts(self) -> tuple[str, ...]:
        """All that may build, the native ones first."""
        return self.native + self.emulating


class Offers:
    """The offers of all probed hosts, each platform looked at once."""

    def __init__(self, inventory: Inventory, reports: Sequence[HostReport]) -> None:
        order = {host.name: number for number, host in enumerate(inventory.hosts)}
        self._reports = sorted(reports, key=lambda report: order[report.spec.name])
        self._offers: dict[Platform, Offer] = {}

    def __getitem__(self, platform: Platform) -> Offer:
        if platform not in self._offers:
            self._offers[platform] = self._look(platform)
        return self._offers[platform]

    @property
    def unasked(self) -> frozenset[Platform]:
        """What the hosts build where nobody says what is wanted.

        What the inventory says of a host, else its engine's own platform: a host
        that could do another one as well (386, arm/v7) does it when it is asked to.
        """
        found: set[Platform] = set()
        for report in self._reports:
            if report.to_come:
                found.update(p for p in report.spec.platforms or () if not report.emulates(p))
            elif report.facts is None:
                continue
            elif report.spec.platforms is not None:
                found.update(p for p in report.facts.native if report.may_build(p))
            elif report.facts.own is not None:
                found.add(report.facts.own)
        return frozenset(found)

    @property
    def states(self) -> str:
        """What the hosts are good for, whatever the platform, for people."""
        states: dict[str, list[str]] = {}
        for report in self._reports:
            native = report.facts.native if report.facts else ()
            may = ", ".join(str(platform) for platform in native if report.may_build(platform))
            if report.to_come:
                named = ", ".join(map(str, report.spec.platforms or ()))
                state = f"it is rented for {named or 'no platform'}"
            elif report.facts is None:
                state = report.error.message if report.error else "it was not probed"
            else:
                state = f"it builds natively for {may or 'no platform'}"
            states.setdefault(_reason(report.spec.name, state), []).append(report.spec.name)
        return _told(states)

    def _look(self, platform: Platform) -> Offer:
        native: list[str] = []
        emulating: list[str] = []
        refusals: dict[str, list[str]] = {}
        for report in self._reports:
            name = report.spec.name
            refusal = report.refusal(platform)
            if report.facts is None and not report.to_come:
                # Why is told once, of the host itself.
                refusals.setdefault("cannot be used", []).append(name)
            elif refusal is not None:
                refusals.setdefault(_reason(name, refusal), []).append(name)
            elif report.emulates(platform):
                emulating.append(name)
            else:
                native.append(name)
        return Offer(
            native=tuple(native),
            emulating=tuple(emulating),
            refusals=_told(refusals),
        )


def _reason(host: str, message: str) -> str:
    """A sentence within a sentence. The errors of hosts name the host themselves."""
    return " ".join(message.removeprefix(f"{host}:").split()).rstrip(".")


def _told(reasons: dict[str, list[str]]) -> str:
    """``pi-1: no route; a, b: no AArch32 state``: hosts of one reason together."""
    told = (f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return "; ".join(told) or "no host was probed"
