"""Retrying one idempotent operation: what may pass, a bounded number of times.

Which errors may pass is said by their classes (``fleet.errors``), and why, in
docs/reliability.md. How often depends on who is to blame: a registry that is down
for half a minute is outlasted; a host is soon left to whoever waits for it without
a job in hand (``execute``); a build is not repeated as often as a question.

The wait is exponential, half of it random ("equal jitter" of "Exponential Backoff
and Jitter", AWS Architecture Blog, 2015), so that many jobs that lost one registry
do not come back to it in step; a registry's own Retry-After comes before it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from fleet.errors import (
    BuildFailed,
    BuildLost,
    ChannelRefused,
    CommandTimedOut,
    DiskFull,
    ExitCode,
    FleetError,
    HostError,
    Interrupted,
    RegistryBusy,
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How often and how long something that may pass is tried again. Times in seconds.

    The waits of six attempts take 31 seconds at least and 62 at most, those of three
    attempts 3 and 6.
    """

    attempts: int = 6  # the first one included
    host_attempts: int = 3  # where the host is to blame, and not what was asked of it
    build_attempts: int = 3  # of a build that failed, and may not the next time
    first_wait: float = 2.0
    longest_wait: float = 32.0
    longest_retry_after: float = 120.0

    def limit(self, error: BaseException | None) -> int:
        """How many attempts there are at what failed like this."""
        if isinstance(error, BuildFailed):
            return min(self.attempts, self.build_attempts)
        if isinstance(error, HostError) and speaks_against_host(error):
            return min(self.attempts, self.host_attempts)
        return self.attempts

    def wait(self, error: BaseException | None, attempt: int) -> float:
        """How long to wait after the failure of an attempt; they count from 1."""
        if isinstance(error, RegistryBusy) and error.retry_after is not None:
            # Never earlier than it asks for, and not all of us at the same moment.
            asked = max(0.0, min(error.retry_after, self.longest_retry_after))
            return asked + random.uniform(0, self.first_wait)
        # Capped before it is a float: 2 ** 1100 is none.
        ceiling = min(self.longest_wait, self.first_wait * 2 ** min(attempt - 1, 64))
        return random.uniform(ceiling / 2, ceiling)


def speaks_against_host(error: Exception) -> bool:
    """Whether an error says that a host cannot be used, whatever the job: then the job moves on."""
    return isinstance(error, HostError) and (
        error.exit_code is ExitCode.UNREACHABLE
        or isinstance(error, ChannelRefused | CommandTimedOut | BuildLost | DiskFull)
    )


def retry(
    operation: Callable[[], T],
    *,
    policy: Policy,
    stop: threading.Event,
    before_wait: Callable[[FleetError, float], None],
) -> T:
    """Call ``operation`` until it succeeds, fails for good, or the policy is used up.

    ``before_wait`` is told of each failure that will be tried again, and of the
    wait in seconds. Setting ``stop`` ends the waiting at once. Raises what the
    last call raised, and Interrupted where ``stop`` is set before the first.
    """
    if stop.is_set():
        raise Interrupted("interrupted")

    def pause(state: tenacity.RetryCallState) -> None:
        # Here and not in tenacity's sleep, which is not told of the error.
        error = _error_of(state)
        assert isinstance(error, FleetError), "only these are tried again"
        before_wait(error, state.upcoming_sleep)
        if stop.wait(state.upcoming_sleep):
            raise error

    def worth_it(error: BaseException) -> bool:
        return isinstance(error, FleetError) and error.transient and not stop.is_set()

    # Annotated as a Callable: tenacity's own signature loses the type of the result.
    call: Callable[[Callable[[], T]], T] = tenacity.Retrying(
        stop=lambda state: state.attempt_number >= policy.limit(_error_of(state)),
        wait=lambda state: policy.wait(_error_of(state), state.attempt_number),
        retry=tenacity.retry_if_exception(worth_it),
        before_sleep=pause,
        sleep=lambda _: None,
        reraise=True,
    )
    return call(operation)


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
