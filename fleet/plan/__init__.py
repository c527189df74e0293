"""What a run does, and why: from facts, recipes and what the registry holds, to a plan.

Pure: nothing here opens a file or a socket, and the same facts give the same plan
in whatever order they come.
"""

from __future__ import annotations

from fleet.plan.changes import context_before
from fleet.plan.inputs import FORMAT, Inputs, inputs_of, pinned_bases
from fleet.plan.names import arch_reference, fill_tags, image_tags, repository
from fleet.plan.planner import make_plan, possible_jobs
from fleet.plan.staying import staying
from fleet.plan.weights import Experience, learn, remaining

__all__ = [
    "FORMAT",
    "Experience",
    "Inputs",
    "arch_reference",
    "context_before",
    "fill_tags",
    "image_tags",
    "inputs_of",
    "learn",
    "make_plan",
    "pinned_bases",
    "possible_jobs",
    "remaining",
    "repository",
    "staying",
]
