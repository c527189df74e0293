"""The ``fleet`` command: parse, call the app, print, exit code.

Everything heavy is imported within a command, so that ``fleet --help`` stays quick.
"""

from __future__ import annotations

import gc
import os
import sys

from fleet.errors import ExitCode, FleetError

# Seconds for which a thread that wants Python's lock lets another one have it. With 500 hosts some
# hundred threads may want it, and each wakes after every such while only to ask for it again:
# at Python's own 5 ms that took more of a core than all the work did.
_PATIENCE = 0.05
# Objects that are made before Python looks for garbage in cycles. A short command makes nearly as
# many as it imports what it needs, and drops next to none: at Python's own 700 it looks a hundred
# times, which is a tenth of its CPU.
_BETWEEN_COLLECTIONS = 100_000


def main() -> None:
    """Run the command line; every error that fleet knows ends in a sentence and an exit code."""
    gc.set_threshold(_BETWEEN_COLLECTIONS)
    from fleet.cli.commands import app

    sys.setswitchinterval(_PATIENCE)
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
    finally:
        gc.freeze()  # what is there goes with the process: nothing of it is looked through again
