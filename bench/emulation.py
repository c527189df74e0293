"""What emulation costs: one compiler, one file, one machine, with QEMU's user mode and without.

The compiler proper (``cc1plus`` of this machine's g++) is run directly, since a compiler
under QEMU's user mode starts its children natively unless the kernel has a handler, and
fleet's machines must have none. So host and guest are the same architecture: it is the
translation that is measured. The file is made to be like one of Orthanc's: templates of
the standard library, and little else.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import peers
from bench.measure import Measure, NotHere, Pair

_SOURCE = """
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

struct Tag { unsigned group, element; auto operator<=>(const Tag&) const = default; };
using Value = std::shared_ptr<std::string>;
using Dataset = std::map<Tag, std::vector<Value>>;

static Dataset parse(std::istream& in) {
  Dataset found;
  for (std::string text; std::getline(in, text);) {
    std::istringstream words(text);
    Tag tag{};
    std::string value;
    if (words >> std::hex >> tag.group >> tag.element >> value)
      found[tag].push_back(std::make_shared<std::string>(value));
  }
  return found;
}

int main() {
  auto data = parse(std::cin);
  std::vector<std::pair<Tag, std::size_t>> sizes;
  std::transform(data.begin(), data.end(), std::back_inserter(sizes),
                 [](const auto& item) { return std::pair(item.first, item.second.size()); });
  std::sort(sizes.begin(), sizes.end(), [](auto& a, auto& b) { return a.second > b.second; });
  for (auto& [tag, size] : sizes) std::cout << std::hex << tag.group << ' ' << size << '\\n';
}
"""


def measures() -> tuple[Measure, ...]:
    """Native beside emulated."""
    return (
        Measure(
            name="emulation",
            what="compiling one C++ file (g++ -O2 -std=c++20) natively, as fleet does",
            against="the same compiler under qemu-user",
            aim=None,
            runs=2,
            warm=0,
            opened=opened,
        ),
    )


@contextmanager
def opened() -> Iterator[Pair]:
    """The compiler, and the compiler in QEMU."""
    compiler = peers.here("g++", "g++")
    done = subprocess.run(
        [compiler, "-print-prog-name=cc1plus"], capture_output=True, text=True, check=True
    )
    qemu = peers.from_debian("qemu-user-static", "usr/bin/qemu-x86_64-static")
    if Path("/proc/sys/kernel/arch").read_text().strip() != "x86_64":
        raise NotHere("it compares on x86_64 only")
    with tempfile.TemporaryDirectory(prefix="fleet-qemu-") as name:
        source = Path(name) / "file.cpp"
        source.write_text(_SOURCE)
        argv = [done.stdout.strip(), "-quiet", "-O2", "-std=c++20", "-D_GNU_SOURCE"]
        argv += ["-imultiarch", "x86_64-linux-gnu", str(source), "-o", f"{source}.s"]

        def native() -> None:
            subprocess.run(argv, check=True, capture_output=True)

        def emulated() -> None:
            subprocess.run([str(qemu), *argv], check=True, capture_output=True)

        yield native, emulated
