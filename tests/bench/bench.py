# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a whole run against a ping of the same hosts, and a plan of 5,000 hosts; every ratio is taken in one run.

    python tests/bench/bench.py --output build/bench.json

A host is local, so its round trip costs what Ansible's own work costs and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import fleets  # noqa: E402

ANSIBLE = Path(sys.executable).parent

#: What has to hold: figure -> (what is compared, limit).
LIMITS: t.Final[t.Mapping[str, tuple[str, float]]] = {
    "pki_vs_loop": ("at most", 3.0),
    "pki_vs_community_crypto": ("at least", 200.0),
    "first_vs_ping": ("at most", 3.5),
    "second_vs_ping": ("at most", 1.5),
    "full_vs_ping": ("at most", 10.0),
    "nothing_due_vs_ping": ("at most", 1.5),
    "handshakes_per_second": ("at least", 150.0),
    "plan_5000_seconds": ("at most", 10.0),
    "plan_5000_mib": ("at most", 512.0),
    "plan_10000_vs_5000": ("at most", 2.2),
}


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of Ansible's runs: nothing of the user's own settings."""
    settings = folder / "ansible.cfg"
    settings.write_text("[defaults]\nforks = 10\nroles_path = roles\n[ssh_connection]\npipelining = true\n")
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build"),
        "ANSIBLE_FORKS": "10",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_NOCOLOR": "true",
        "TLS_BENCH_PASSPHRASE": "a passphrase for the bench only",
    }


def timed(argv: t.Sequence[str], folder: Path, *, log: str) -> float:
    """Return how many seconds a command took; a command that fails ends the bench with its last lines."""
    begin = time.monotonic()
    done = subprocess.run(argv, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    (folder / log).write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise SystemExit("%s ended with %d after %.1f s:\n%s" % (" ".join(argv[:4]), done.returncode, seconds, tail))
    return seconds


def ping(folder: Path) -> float:
    """Return what a ping of all hosts costs."""
    return timed(
        [str(ANSIBLE / "ansible"), "-i", "inventory", "all", "-m", "ansible.builtin.ping"], folder, log="ping.log"
    )


def playbook(folder: Path, name: str, *extra: str, log: str) -> float:
    """Return what a playbook of ours costs."""
    argv = [str(ANSIBLE / "ansible-playbook"), "-i", "inventory", "connsec.tls." + name, *extra]
    return timed(argv, folder, log=log)


def best(measure: t.Callable[[], float], times: int = 3) -> float:
    """Return the least of several measurements: noise only ever adds."""
    return min(measure() for _ in range(times))


def installs(work: Path) -> dict[str, float]:
    """Return the ratios of a first and a second rollout of material to 20 hosts against a ping of them."""
    firsts = []
    seconds = []
    pings = []
    for attempt in range(3):
        folder = fleets.local_fleet(work / ("install%d" % attempt), hosts=20)
        with fleets.running(folder):
            pings.append(ping(folder))
            firsts.append(
                playbook(folder, "rollout", "-e", "tls_until=presented", "-e", "tls_scope=all", log="first.log")
            )
            seconds.append(
                playbook(folder, "rollout", "-e", "tls_until=presented", "-e", "tls_scope=all", log="second.log")
            )
    floor = min(pings)
    return {"ping_seconds": floor, "first_vs_ping": min(firsts) / floor, "second_vs_ping": min(seconds) / floor}


def full(work: Path) -> dict[str, float]:
    """Return the ratios of a whole rollout, and of one that finds nothing due, against a ping of the same 20 hosts."""
    rollouts = []
    nothings = []
    pings = []
    extra = ("-e", "tls_until=enforced", "-e", "tls_scope=all", "-e", "tls_soak=0")
    for attempt in range(2):
        folder = fleets.local_fleet(work / ("full%d" % attempt), hosts=20)
        with fleets.running(folder):
            pings.append(ping(folder))
            rollouts.append(playbook(folder, "rollout", *extra, log="full.log"))
            pings.append(ping(folder))
            nothings.append(playbook(folder, "rollout", *extra, log="nothing.log"))
    floor = min(pings)
    return {"full_vs_ping": min(rollouts) / floor, "nothing_due_vs_ping": min(nothings) / floor}


def plans(work: Path) -> dict[str, float]:
    """Return what a plan from the ledger costs for 5,000 hosts, and how it grows to 10,000."""
    found = {}
    for hosts in (5000, 10000):
        folder = fleets.large_fleet(work / ("plan%d" % hosts), hosts=hosts)
        found[hosts] = best(
            lambda folder=folder: playbook(folder, "plan", "-e", "tls_observe=false", log="plan.log"), 2
        )
        if hosts == 5000:
            mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"plan_5000_seconds": found[5000], "plan_5000_mib": mib, "plan_10000_vs_5000": found[10000] / found[5000]}


def parts() -> dict[str, t.Callable[[Path], t.Mapping[str, float]]]:
    """Return every part of the bench; the plan comes first, for memory is read as the largest child so far."""
    import handshake_bench
    import pki_bench

    return {
        "plan": plans,
        "pki": lambda work: pki_bench.figures(work),
        "handshakes": lambda work: handshake_bench.figures(work),
        "installs": installs,
        "full": full,
    }


def main() -> int:
    """Run the parts, write the figures, and fail where one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default=str(ROOT / "build" / "bench.json"))
    parser.add_argument("--work", default=str(ROOT / "build" / "bench"))
    parser.add_argument("--only", action="append", help="a part: plan, pki, handshakes, installs, full")
    options = parser.parse_args()
    work = Path(options.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    figures: dict[str, float] = {}
    for name, part in parts().items():
        if not options.only or name in options.only:
            figures.update(part(work))
            print("%s: %s" % (name, json.dumps(figures)), flush=True)
    rows = []
    for name, (way, limit) in LIMITS.items():
        if name in figures:
            holds = figures[name] <= limit if way == "at most" else figures[name] >= limit
            rows.append(
                {"figure": name, "value": round(figures[name], 3), way.replace(" ", "_"): limit, "holds": holds}
            )
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"version": 1, "figures": figures, "limits": rows}, indent=1) + "\n")
    for row in rows:
        print(row)
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
