"""The fleet command as a person would use it, against the session's lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Lab


@dataclass(frozen=True, kw_only=True)
class Controller:
    """A controller: an inventory, and a state folder of its own."""

    inventory: Path
    state: Path

    @classmethod
    def of(cls, folder: Path, lab: Lab, hosts: Sequence[str], rest: str) -> Controller:
        """A controller of some of the lab's hosts; ``rest`` is the inventory's other keys."""
        lines = [f"ssh_config: {lab.ssh_config}", "registry: embedded", "hosts:"]
        lines += [f"  {name}: {{address: {name}}}" for name in hosts]
        path = folder / "inventory.yml"
        path.write_text("\n".join(lines) + "\n" + rest)
        return cls(inventory=path, state=folder / "state")

    @property
    def environment(self) -> dict[str, str]:
        """What the command runs in."""
        return {**os.environ, "XDG_STATE_HOME": str(self.state)}

    def argv(self, *arguments: str) -> list[str]:
        """The command, with this controller's inventory where it takes one."""
        takes = arguments[0] in (
            "build",
            "plan",
            "stitch",
            "hosts",
            "doctor",
            "verify",
            "prune",
            "bootstrap",
        )
        inventory = ["--inventory", str(self.inventory)] if takes else []
        return [sys.executable, "-m", "fleet", *arguments, *inventory]

    def fleet(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command; fails the test, showing all it said, unless it ends with ``expect``."""
        done = subprocess.run(
            self.argv(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=540,
        )
        said = f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in said, said
        assert done.returncode == expect, f"exit {done.returncode}, not {expect}:\n{said}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command; what it prints is the test's to read."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """What the command prints with ``--json``."""
        return json.loads(self.fleet(*arguments, "--json", expect=expect).stdout)

    def events(self) -> list[dict[str, Any]]:
        """The events of the newest run."""
        newest = max((self.state / "fleet" / "runs").iterdir())
        with (newest / "events.jsonl").open() as lines:
            return [json.loads(line) for line in lines]

    def outcomes(self) -> dict[str, str]:
        """How each job of the newest run ended: ``{"hello linux/arm64": "built"}``."""
        ended = (e["outcome"] for e in self.events() if e["event"] == "job-finished")
        return {f"{o['id']['image']} {o['id']['platform']}": o["status"] for o in ended}

    def address(self) -> str:
        """The embedded registry's address."""
        return self.fleet("registry", "start").stdout.strip()
