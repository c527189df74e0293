"""The one error class of the lab."""

from __future__ import annotations


class LabError(Exception):
    """Something in the lab went wrong. The message says what, where, and what to do about it."""
