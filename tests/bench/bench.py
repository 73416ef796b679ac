# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what `connsec.tls` costs, hold it against its limits, and write the figures to build/bench.json.

    python tests/bench/bench.py
    python tests/bench/bench.py --only rollout --only pki

Every ratio is taken in one run: what is compared takes turns, and the least of a few repetitions of each counts, for a
machine that has other work to do only ever adds to it. It exits with 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import platform
import shutil
import sys
import typing as t
from importlib.metadata import version
from pathlib import Path

import handshake_bench
import lab_bench
import pki_bench
import plan_bench
import rollout_bench
import windows_bench
from commands import ROOT, LeftOut

#: Version of `bench.json`.
VERSION: t.Final = 1

#: Each part returns figures, and is given an empty folder to work in.
PARTS: t.Final[t.Mapping[str, t.Callable[[Path], t.Mapping[str, float]]]] = {
    "pki": pki_bench.figures,  # first, for it wants a disk on which nothing was removed in the last minutes
    "handshakes": handshake_bench.figures,
    "rollout": rollout_bench.figures,
    "plan": plan_bench.figures,
    "windows": windows_bench.figures,
    "lab": lab_bench.figures,
}

_BOUNDS: t.Final = {"at most": operator.le, "at least": operator.ge}

#: What has to hold.
LIMITS: t.Final[t.Mapping[str, tuple[str, float]]] = {
    "pki_vs_loop": ("at most", 3.0),
    "pki_vs_community_crypto": ("at least", 200.0),
    "first_vs_ping": ("at most", 3.5),
    "second_vs_ping": ("at most", 1.5),
    "full_vs_ping": ("at most", 10.0),
    "nothing_due_vs_ping": ("at most", 1.5),
    "lab_nothing_due_vs_ping": ("at most", 2.0),
    "handshakes_per_second": ("at least", 150.0),
    "plan_5000_seconds": ("at most", 10.0),
    "plan_5000_mib": ("at most", 512.0),
    "plan_10000_vs_5000": ("at most", 2.2),
    "windows_first_trips": ("at most", 12.0),
    "windows_nothing_due_trips": ("at most", 4.0),
}


def main() -> int:
    """Run the parts, write the figures, and fail where one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be given several times")
    options = parser.parse_args()
    work = ROOT / "build" / "bench"
    shutil.rmtree(work, ignore_errors=True)
    figures: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in options.only or PARTS:
        print("measuring %s" % name, file=sys.stderr, flush=True)
        (work / name).mkdir(parents=True)
        try:
            figures.update(PARTS[name](work / name))
        except LeftOut as error:
            left_out[name] = str(error)
    result = judged(figures, left_out)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))
    for name, why in left_out.items():
        print("LEFT OUT: %s: %s" % (name, why))
    return 0 if result["holds"] else 1


def judged(figures: t.Mapping[str, float], left_out: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return `bench.json`: the figures, for those that have a limit whether it holds, and why parts have none."""
    limits = {}
    for name, (bound, limit) in LIMITS.items():
        if name in figures:
            limits[name] = {"bound": bound, "limit": limit, "holds": _BOUNDS[bound](figures[name], limit)}
    return {
        "version": VERSION,
        "machine": {
            "cpus": os.cpu_count(),
            "system": "%s %s" % (platform.system(), platform.machine()),
            "python": platform.python_version(),
            "ansible_core": version("ansible-core"),
            "cryptography": version("cryptography"),
        },
        "figures": {name: float("%.4g" % value) for name, value in figures.items()},
        "limits": limits,
        "left_out": dict(left_out),
        "holds": all(row["holds"] for row in limits.values()),
    }


def table(result: t.Mapping[str, t.Any]) -> str:
    """Return the figures as a table for people: those with a limit, then those that they came from."""
    limits = result["limits"]
    rows = [("figure", "measured", "limit", "")]
    for name, value in sorted(result["figures"].items(), key=lambda row: row[0] not in limits):
        row = limits.get(name)
        limit = "%s %g" % (row["bound"], row["limit"]) if row else ""
        rows.append((name, "%g" % value, limit, ("holds" if row["holds"] else "DOES NOT HOLD") if row else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for name, value, limit, holds in rows:
        cells = (name.ljust(widths[0]), value.rjust(widths[1]), limit.ljust(widths[2]), holds)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
