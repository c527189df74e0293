"""Registries: the distribution client, credentials, indexes, and the one that fleet runs itself.

The only user of httpx, which is imported when the first registry is asked.
"""

from fleet.registry.client import Registry
from fleet.registry.credentials import CredentialStore
from fleet.registry.embedded import EmbeddedRegistry, EmbeddedStatus
from fleet.registry.index import assemble, check, replace_members
from fleet.registry.publish import Publication, publish

__all__ = [
    "CredentialStore",
    "EmbeddedRegistry",
    "EmbeddedStatus",
    "Publication",
    "Registry",
    "assemble",
    "check",
    "publish",
    "replace_members",
]
