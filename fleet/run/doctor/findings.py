"""A check and, where there is a safe one, the way to mend what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fleet.errors import FleetError
from fleet.models import Check, ErrorInfo


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was looked at. ``mend`` sets it right and says what it did; raises FleetError, OSError.

    It leaves alone what is not fleet's own.
    """

    check: Check
    mend: Callable[[], str] | None = None


def found(
    subject: str,
    name: str,
    ok: bool,
    detail: str,
    remedy: str | None = None,
    mend: Callable[[], str] | None = None,
) -> Finding:
    """A finding in one line."""
    check = Check(subject=subject, name=name, ok=ok, detail=detail, remedy=remedy)
    return Finding(check=check, mend=mend)


def failed(subject: str, name: str, error: FleetError | ErrorInfo) -> Finding:
    """A check that an error answers."""
    return found(subject, name, False, error.message, error.hint)


def settle(finding: Finding, *, fix: bool) -> Check:
    """The check; with ``fix``, after what is wrong was mended, if it safely can be."""
    check = finding.check
    if check.ok or finding.mend is None:
        return check
    if not fix:
        remedy = "\n".join(filter(None, (check.remedy, "or: fleet doctor --fix")))
        return replace(check, remedy=remedy)
    try:
        return replace(check, ok=True, detail=f"{check.detail}; mended: {finding.mend()}")
    except FleetError as error:
        return replace(check, detail=f"{check.detail}; not mended: {error.message}")
    except OSError as error:
        return replace(check, detail=f"{check.detail}; not mended: {error.strerror}")
