"""Dockerfiles and build contexts: read, understood, pinned, and made into a tar.

``read`` turns an inventory's images into recipes, all problems at once;
``lineage`` tells, of Dockerfiles alone, what images are built on;
``pin`` gives the Dockerfile that goes to a host; ``context`` and ``write_tar``
make what is built from the same everywhere; ``order`` puts parents first.
"""

from fleet.recipes.contexts import context, write_tar
from fleet.recipes.graph import order
from fleet.recipes.reading import declares, lineage, pin, read

__all__ = ["context", "declares", "lineage", "order", "pin", "read", "write_tar"]
