"""fleet beside what people would use instead.

    python -m bench --list              # what there is
    python -m bench --only probe        # some of it, by the beginning of its name
    python -m bench --write             # all of it, into docs/performance.md

Nothing here is a test: a busy machine is no defect, and `make test` asserts no time.
"""

from __future__ import annotations

import argparse
import os
import sys

from bench import catalogue, table
from bench.measure import NotHere, Result, chosen, take


def main() -> int:
    """Measure, print, and write where it is asked for; 1 where some could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="say what there is to measure")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="those whose name begins so"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="how often each (its own number)")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    if asked.runs is not None and asked.runs < 1:
        parser.error("--runs must be at least 1")
    measures = catalogue.measures()
    try:
        wanted = chosen(measures, asked.only)
    except LookupError as error:
        parser.error(str(error.args[0]))
    if asked.list:
        for measure in wanted:
            print(f"{measure.name:24} {measure.what} (against: {measure.against})")
        return 0
    results: list[Result] = []
    failed = False
    print(table.HEAD, flush=True)
    for measure in wanted:
        try:
            result = take(measure, runs=asked.runs)
        except NotHere as lack:
            print(f"{measure.name} was not measured: {lack}", file=sys.stderr, flush=True)
            continue
        except Exception as error:  # noqa: BLE001 - one that fails stops no other
            print(f"{measure.name} failed: {error!r}", file=sys.stderr, flush=True)
            failed = True
            continue
        results.append(result)
        print(table.row(result, "now"), flush=True)
        if asked.write:  # at once: what comes next may take an hour
            table.write([result], [measure.name for measure in measures])
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
