"""fleet: native multi-architecture container images, built over SSH, under one tag."""

__version__ = "0.1.0"
