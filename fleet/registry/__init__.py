"""Registries: the distribution client, credentials, indexes, and the one that fleet runs itself.

The only user of httpx, which is imported when the first registry is asked.
"""

from fleet.registry.client import UNSOUND, Registry
from fleet.registry.copy import Destination, Repository, Taken, Tree, is_elsewhere
from fleet.registry.credentials import CredentialStore
from fleet.registry.embedded import EmbeddedRegistry, EmbeddedStatus
from fleet.registry.index import (
    assemble,
    check,
    overclaims,
    replace_members,
    unlabelled,
)
from fleet.registry.layout import Layout, new_layout
from fleet.registry.manifests import Manifest, is_attestation
from fleet.registry.publish import Publication, publish

__all__ = [
    "UNSOUND",
    "CredentialStore",
    "Destination",
    "EmbeddedRegistry",
    "EmbeddedStatus",
    "Layout",
    "Manifest",
    "Publication",
    "Registry",
    "Repository",
    "Taken",
    "Tree",
    "assemble",
    "check",
    "is_attestation",
    "is_elsewhere",
    "new_layout",
    "overclaims",
    "publish",
    "replace_members",
    "unlabelled",
]
