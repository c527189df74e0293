"""What a command of the operator's on the controller is given of fleet's environment."""

from __future__ import annotations

import os

# The registry's credentials are fleet's own: what a command prints goes into the record.
_SECRET = ("FLEET_REGISTRY_USERNAME", "FLEET_REGISTRY_PASSWORD")


def without_secrets() -> dict[str, str]:
    """The environment without the registry's credentials."""
    return {name: text for name, text in os.environ.items() if name not in _SECRET}
