"""``python -m tests.faults``: run the matrix, print it, and write it into docs/reliability.md."""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.matrix import CELLS, Cell, Result, run, standing, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- matrix: begin (made by `make faults`) -->", "<!-- matrix: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only cells whose name holds one of these")
    parser.add_argument("--benches", type=int, default=4, help="cells at the same time")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    cells: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    chosen = [c for c in CELLS if not options.words or any(w in str(c) for w in options.words)]
    for cell in chosen:
        cells.put(cell)
    results: list[Result] = []
    began = time.monotonic()

    def work(number: int) -> None:
        folder = Path(tempfile.mkdtemp(prefix="fleet-faults-"))
        try:
            with Bench(f"faults-{os.getpid()}-{number}", folder) as bench:
                while True:
                    try:
                        cell = cells.get_nowait()
                    except queue.Empty:
                        return
                    result = attempt(bench, cell)
                    if not result.survived:  # told in the table, and once more is all
                        result = replace(attempt(bench, cell), tries=2)
                    results.append(result)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(options.benches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = list(table(results))
    survived = sum(result.survived for result in results)
    summary = f"{survived} of {len(chosen)} survived, in {time.monotonic() - began:.0f} s"
    print("\n".join([*lines, "", summary]))
    if options.write:
        write(results)
    return 0 if survived == len(chosen) else 1


def attempt(bench: Bench, cell: Cell) -> Result:
    """A cell's result, whatever becomes of it; told as it comes."""
    began = time.monotonic()
    try:
        result = run(bench, cell)
        said = f"survived, {result.seconds:.0f} s, {result.builds} builds {result.remark}"
    except Exception as error:  # noqa: BLE001 - a cell that fails is a result
        spent = time.monotonic() - began
        remark = str(error) or type(error).__name__
        result = Result(cell=cell, survived=False, seconds=spent, builds=0, remark=remark)
        said = "FAILED\n" + "".join(traceback.format_exception_only(error))[:6000]
    print(f"{cell}: {said}", file=sys.stderr, flush=True)
    return result


def write(results: list[Result]) -> None:
    """Put the table where the page keeps it; cells that were not run stay as they stand there."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    stood, _, tail = rest.partition(END)
    lines = list(table(results, standing(stood)))
    survived = sum(word.startswith("survived") for word in standing("\n".join(lines)).values())
    today = time.strftime("%Y-%m-%d", time.gmtime())
    lines += ["", f"{survived} of {len(CELLS)} survived; the last of them was run on {today}."]
    PAGE.write_text("\n".join([head + BEGIN, "", *lines, "", END]) + tail)


if __name__ == "__main__":
    raise SystemExit(main())
