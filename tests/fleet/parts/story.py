# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run of a rollout came to: which pairs it moved, which wait and for whom, and whether that is as expected."""

from __future__ import annotations

import fnmatch
import re
import typing as t
from dataclasses import dataclass

Report = t.Mapping[str, t.Any]

#: Those of the last lines that name a pair which is not done.
_NAMES: t.Final = re.compile(r"(WAITING|BLOCKED|FAILED|\s+not protected:) ")


@dataclass(frozen=True)
class Open:
    """A pair that a run may leave short of its end, for a reason that names who or what comes first."""

    pairs: str
    status: str
    words: str


def summary(report: Report, *, code: int, before: t.Mapping[str, str], last_lines: t.Sequence[str]) -> dict[str, t.Any]:
    """Return what `runs.json` has of a run.

    Args:
        report: its `report.json`.
        code: its exit status.
        before: the stage of each pair before it.
        last_lines: what it said in the end.
    """
    pairs = report.get("connections") or ()

    def of(status: str) -> list[dict[str, t.Any]]:
        return [{"pair": row["id"], **newest(row)} for row in pairs if row["status"] == status]

    return {
        "exit": code,
        "moved": [
            {"pair": row["id"], "from": before.get(row["id"], "plain"), "to": row["stage"]}
            for row in pairs
            if row["stage"] != before.get(row["id"], "plain")
        ],
        "waiting": of("waiting"),
        "blocked": of("blocked"),
        "failed": of("failed"),
        "last_lines": list(last_lines),
    }


def newest(row: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return where a pair that is not done stands, and why."""
    last = row["evidence"][-1] if row["evidence"] else {}
    found = {name: str(last.get(name) or "") for name in ("gate", "expected", "seen")}
    return {"stage": row["stage"], **found, "todo": str(row["todo"] or last.get("todo") or "")}


def last_lines(text: str) -> list[str]:
    """Return what a run says in the end, before Ansible's own recap."""
    found = re.search(r"^RESULT .*?(?=^PLAY RECAP|\Z)", text, re.MULTILINE | re.DOTALL)
    return [line for line in found.group(0).splitlines() if line.strip()] if found else []


def faults_of(opens: t.Sequence[Open], report: Report, row: t.Mapping[str, t.Any]) -> list[str]:
    """Return what a run did otherwise than it is there to show, of its exit status, its pairs and its last lines.

    Args:
        opens: the pairs that it may leave; all others are to be enforced.
        report: its `report.json`.
        row: its :func:`summary`.
    """
    faults = ["it ended with %d" % row["exit"]] if row["exit"] else []
    if not row["last_lines"]:
        return [*faults, "it has no last lines"]
    named = [line for line in row["last_lines"] if _NAMES.match(line)]
    for pair in report["connections"]:
        why = next((each for each in opens if fnmatch.fnmatch(pair["id"], each.pairs)), None)
        if why is None:
            if (pair["stage"], pair["status"]) != ("enforced", "done"):
                faults.append("%s is %s, %s: %s" % (pair["id"], pair["stage"], pair["status"], newest(pair)["seen"]))
            continue
        words = "%(seen)s %(todo)s" % newest(pair)
        if pair["status"] != why.status or not re.search(why.words, words):
            faults.append("%s is %s: %s; expected %s: %s" % (pair["id"], pair["status"], words, why.status, why.words))
        if not any(pair["id"] in line.split() for line in named):
            faults.append("the last lines do not name %s" % pair["id"])
    return faults
