"""An opened inventory with its hosts, and the verbs of the main job."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from urllib.parse import urlsplit

from fleet import inventory, plan
from fleet.app.connecting import Reopened, machine_of
from fleet.app.history import experience
from fleet.app.office import CANDIDATES, Office, image_of, platforms_of
from fleet.app.renting import leases_of
from fleet.errors import FleetError, NoHostLeft
from fleet.events import IndexFinished, JobPlanned, Notice
from fleet.hosts import connect
from fleet.hosts import probe as probe_host
from fleet.models import HostReport, HostSpec, IndexOutcome, Plan, RunResult
from fleet.record import RunFolder, state_home
from fleet.references import Reference
from fleet.run.execute import execute
from fleet.run.job import Shop
from fleet.run.machine import Address, Machine
from fleet.run.provenance import Provenance
from fleet.run.renting import Rental
from fleet.run.sign import Signer
from fleet.run.stitch import stitch as stitch_index
from fleet.suggest import did_you_mean

# New objects, and so on, after which Python looks for garbage in cycles: its own numbers, which
# `fleet.cli` raises for what is over in a second. A run with hundreds of hosts leaves a lot.
_OFTEN = (700, 10, 10)


class Workshop(Office):
    """An opened inventory, where it is built. Each method is one verb of the main job."""

    still_up: frozenset[str] = frozenset()  # rented hosts that could not be given back

    def build(self, folder: RunFolder) -> RunResult:
        """The main job. What is rented for it, or by an earlier run, is given back at its end."""
        rental = Rental(
            self.inventory.hosts,
            leases=leases_of(self.inventory.path),
            arrive=self._arrive,
            emit=self._emit,
            run=folder.run,
        )
        try:
            return self._build(folder, rental)
        finally:
            rental.end()
            self.still_up = frozenset(rental.kept)

    def _build(self, folder: RunFolder, rental: Rental) -> RunResult:
        self.prepare()
        recipes_ = self.read()
        self._patiently(lambda: self.registry.ping(self.address))
        reports, held = self.look(recipes_)
        plan_ = self.plan(recipes_, reports, held)
        if not self.request.push:
            plan_ = plan.staying(plan_, rented=rental.hosts)
        self.announce(plan_)
        needed = any(job.kept is None for job in plan_.jobs)
        if needed and not any(report.facts or report.to_come for report in reports):
            raise NoHostLeft(
                "no host could be reached, and there is something to build",
                hint="`fleet doctor` looks at each of them",
            )
        for job in plan_.to_build:
            self._contexts.remember(job.recipe.context)
        with rental.given_back():
            return self.execute(plan_, reports, folder, rental)

    def execute(
        self, plan_: Plan, reports: Sequence[HostReport], folder: RunFolder, rental: Rental
    ) -> RunResult:
        """Run the plan and publish what it makes."""
        if plan_.to_build:
            gc.set_threshold(*_OFTEN)
        outcomes, indexes = execute(
            plan_,
            shop=self._shop(),
            machines=self.machines(reports),
            log_path=folder.log,
            experience=experience(),
            run=folder.run,
            reopen=Reopened(
                self.inventory,
                {report.spec.name: report.facts for report in reports if report.facts},
            ),
            rental=rental,
        )
        return RunResult(run=folder.run, outcomes=outcomes, indexes=indexes)

    def stitch(self) -> tuple[IndexOutcome, ...]:
        """Put the indexes of what stands under the arch tags of the images asked for."""
        shop, outcomes = self._shop(), []
        for image in inventory.select_images(self.inventory, self.request.selection.images):
            stated = image.platforms or self.inventory.platforms
            outcome = stitch_index(
                image, stated or CANDIDATES, stated=stated is not None, shop=shop
            )
            self._emit(IndexFinished(outcome=outcome))
            outcomes.append(outcome)
        return tuple(outcomes)

    def _shop(self) -> Shop:
        sign = self.inventory.sign
        return Shop(
            registry=self.registry,
            credentials=self.credentials,
            repositories=self.repositories(),
            tags={
                image.name: plan.image_tags(self.inventory, image)
                for image in self.inventory.images
            },
            record_host=self.inventory.record_host,
            provenance=Provenance.of(self.inventory.path.parent),
            policy=self._policy,
            emit=self._emit,
            stop=self._stop,
            no_cache=self.request.no_cache,
            push=self.request.push,
            signer=Signer(command=sign, memory=state_home() / "signed") if sign else None,
            collect=not self.request.selection.force,
            resumed=self.request.resumed,
            limits=self.inventory.limits,
            allow_partial=self.request.allow_partial,
            # What stays on its host has to be on one, for what is built on it.
            speculate=self.inventory.speculate and self.request.push,
        )

    def machines(self, reports: Sequence[HostReport]) -> dict[str, Machine]:
        """The hosts that answered, ready to take jobs."""
        machines = {}
        for report in reports:
            if report.facts is None:
                continue
            machines[report.spec.name] = machine_of(
                self.inventory,
                report,
                self._hosts[report.spec.name],
                self._stack,
                tunnelled=self.tunnelled(),
            )
        return machines

    def _arrive(self, spec: HostSpec, told: str) -> Machine:
        """A rented host, where its ``up`` says that it is: connected to, and probed."""
        host = connect(inventory.arrived(spec, told), ssh_config=self.inventory.ssh_config)
        try:
            platforms = {*platforms_of(self.inventory), *(spec.platforms or ())}
            facts = probe_host(host, platforms=sorted(platforms))
        except FleetError:
            host.close()
            raise
        self._stack.callback(host.close)
        report = HostReport(spec=host.spec, facts=facts)
        return machine_of(self.inventory, report, host, self._stack, tunnelled=self.tunnelled())

    def announce(self, plan_: Plan) -> None:
        """Tell the readers what is planned."""
        for job in plan_.jobs:
            self._emit(
                JobPlanned(
                    job=job.id,
                    action=job.action,
                    reason=job.reason,
                    hosts=job.hosts,
                    parents=job.parents,
                )
            )
        for warning in plan_.warnings:
            self._emit(Notice(message=warning))

    def tunnelled(self) -> dict[str, Address]:
        """The registries that are carried to hosts, and where the controller connects to them."""
        if not self.inventory.registry.tunnel:
            return {}
        parts = urlsplit(f"//{self.address}")
        port = parts.port or (80 if self.inventory.registry.plain_http else 443)
        return {self.address: (parts.hostname or "", port)}

    def reference(self, name: str, *, tag: str | None = None) -> Reference:
        """What a name means: an image of the inventory, or any reference.

        An image alone means its first tag, or ``tag``.
        """
        for image in self.inventory.images:
            if image.name == image_of(name):
                repository = plan.repository(self.inventory.registry, image.name)
                if image.name == name:
                    return repository.tagged(tag or plan.image_tags(self.inventory, image)[0])
                return Reference.parse(f"{repository}{name.removeprefix(image.name)}")
        if "/" not in name and (
            near := did_you_mean(image_of(name), [image.name for image in self.inventory.images])
        ):
            told = f"{self.inventory.path} has no image {image_of(name)!r}{near}"
            self._emit(Notice(message=f"{told}; {Reference.parse(name)} is asked for"))
        return Reference.parse(name)


opened = Workshop.opened
"""Open an inventory to build it."""
