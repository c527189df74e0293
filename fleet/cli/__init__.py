"""The ``fleet`` command: parse, call the app, print, exit code.

Everything heavy is imported within a command, so that ``fleet --help`` stays quick.
"""

from __future__ import annotations

import os
import sys

from fleet.errors import ExitCode, FleetError


def main() -> None:
    """Run the command line; every error that fleet knows ends in a sentence and an exit code."""
    from fleet.cli.commands import app

    try:
        app(standalone_mode=True)
    except FleetError as error:
        print(f"fleet: error: {error}", file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from None
    except KeyboardInterrupt:
        print("fleet: interrupted", file=sys.stderr)
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    except BrokenPipeError:
        # The reader of our output has gone (`fleet plan | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(int(ExitCode.OK)) from None
