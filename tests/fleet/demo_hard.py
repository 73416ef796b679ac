# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hard demo: what real fleets have, all at once, goes from plaintext to TLS in four runs, and talks all the while.

demo_hard.py            starts it afresh, rolls out four times with others doing their part in between, and stops it
demo_hard.py up         starts it afresh in the clear, leaves it running, and says what to try on it
demo_hard.py down       stops it
demo_hard.py partner    on a fleet that runs: what one of the others does. There are partner, monitors, sign, takeover,
                        and kill: the active one of the HA pair is killed, and started anew a second later

All of them take `--root FOLDER` (CONNSEC_DEMO_ROOT, or .demo-hard). It leaves there `report.html`, `report.json`,
`runs.json`, `traffic.json`, `store/`, and the whole output of each run in `logs/`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import demo
import fleet
import people
from parts import FleetError
from parts.records import replace_file
from parts.story import Open, faults_of, last_lines, summary

NAME: t.Final = "demo-hard"


class Act(t.NamedTuple):
    """What others do: the word for it on the command line, and the pairs that it is about."""

    word: str
    do: t.Callable[[fleet.Place], str]
    pairs: str = "*"


PARTNER: t.Final = Act("partner", people.switch_partner, "partner@*->gateway.trunk@*")
MONITORS: t.Final = Act("monitors", people.switch_monitors, "balancer@*->confserv.default@*")
SIGN: t.Final = Act("sign", people.answer_requests, "desk@*->portal.http@*")
TAKEOVER: t.Final = Act("takeover", people.take_over)
KILL: t.Final = Act("kill", people.kill_the_active)
ACTS: t.Final = (PARTNER, MONITORS, SIGN, TAKEOVER, KILL)

#: The connection that somebody decided not to protect: it stays as it is, and the report has it apart.
ACCEPTED: t.Final = "desk@app2->gateway.trace@sip1"


@dataclass(frozen=True)
class Run:
    """One run of the rollout.

    Attributes:
        title: what it shows.
        before: what others have done by then.
        meanwhile: what befalls the fleet in the middle of it.
        opens: which pairs it leaves, and why; all others are enforced by its end.
    """

    title: str
    before: tuple[Act, ...] = ()
    meanwhile: Act | None = None
    opens: tuple[Open, ...] = ()


_ACCEPTED: t.Final = Open(ACCEPTED, "blocked", "head of operations decided until 2099-12-31 not to protect it")
_PARTNER: t.Final = Open(PARTNER.pairs, "waiting", r"ask Partner Ltd \(contract 4711\)")
_MONITORS: t.Final = Open(MONITORS.pairs, "waiting", "ask network team")
_BEHIND: t.Final = Open("*->confserv.default@*", "waiting", "balancer@balancer")
_SIGNATURE: t.Final = Open(SIGN.pairs, "waiting", "company")
_STANDBY: t.Final = Open("router@*->queue_standby.calls@*", "waiting", "standby|drill|session")

RUNS: t.Final = (
    Run(
        "whatever is ours and can be had today moves; the rest waits, and says for whom",
        opens=(_ACCEPTED, _PARTNER, _MONITORS, _BEHIND, _SIGNATURE, _STANDBY),
    ),
    Run(
        "the partner's trunk is closed to plaintext, and the HA pair fails over in the middle",
        before=(PARTNER,),
        meanwhile=KILL,
        opens=(_ACCEPTED, _MONITORS, _BEHIND, _SIGNATURE, _STANDBY),
    ),
    Run(
        "the signed certificate is taken, and the HA pair is closed to plaintext",
        before=(MONITORS, SIGN),
        opens=(_ACCEPTED, _STANDBY),
    ),
    Run(
        "the standby that has taken over is closed to plaintext: nothing is left to do",
        before=(TAKEOVER,),
        opens=(_ACCEPTED,),
    ),
)


# ---------------------------------------------------------------- what the command line asks for


def run(place: fleet.Place) -> None:
    """Start a fleet in the clear, take it through its runs, say what became of it, and stop it."""
    began, story = time.monotonic(), Story(place)
    with demo.stopped_afterwards(place):
        demo.heading("The fleet starts, in plaintext")
        demo.start_afresh(place, inventory=NAME)
        story.begin()
        for number, each in enumerate(RUNS, 1):
            story.prepare(each)
            demo.heading("Run %d: %s" % (number, each.title), demo.command("rollout"))
            story.run(number, each)
    demo.fleet_program(place, "traffic")
    demo.heading("The result")
    report, traffic = demo.read(place, "report.json"), demo.read(place, "traffic.json")
    demo.show_result(report, traffic)
    refuse_faults(report, traffic)
    show_end(place, traffic, seconds=time.monotonic() - began)


def up(place: fleet.Place) -> None:
    """Start a fleet in the clear, leave it running, and say what to try on it."""
    demo.start_afresh(place, inventory=NAME)
    print("\nIt runs until `make demo-hard-down`. To take it through its runs yourself, first, in this shell:\n")
    for name, value in (("ANSIBLE_CONFIG", fleet.CHECKOUT / "ansible.cfg"), ("CONNSEC_DEMO_ROOT", place.root)):
        print("  export %s=%s" % (name, shlex.quote(str(value))))
    print("  export PATH=%s:$PATH\n" % shlex.quote(str(demo.BIN)))
    for number, each in enumerate(RUNS, 1):
        for act in (*each.before, *filter(None, [each.meanwhile])):
            print("  %s" % shlex.join([str(demo.BIN / "python"), str(Path(__file__).resolve()), act.word]))
        print("  # run %d: %s" % (number, each.title))
        print("  %s" % demo.command("rollout", inventory=demo.inventory(place)))


# ---------------------------------------------------------------- the runs


@dataclass
class Story:
    """The runs so far, and where every pair stood after the newest."""

    place: fleet.Place
    stages: dict[str, str] = field(default_factory=dict)
    done: list[dict[str, t.Any]] = field(default_factory=list)

    def begin(self) -> None:
        """Take it that nobody has moved yet."""
        self.stages = {pair.id: "plain" for pair in self.place.fleet().pairs}

    def prepare(self, asked: Run) -> None:
        """Have others do their part before a run."""
        for act in asked.before:
            print("\n   %s" % act.do(self.place))

    def run(self, number: int, asked: Run) -> None:
        """Roll out once, note what came of it, and hold it to what it is there to show.

        Raises:
            DemoError: it did something else.
        """
        began, log = time.monotonic(), "rollout-%d.log" % number
        meanwhile = people.Meanwhile(lambda: act.do(self.place)) if (act := asked.meanwhile) else None
        shown = demo.progress(began)

        def show(line: str) -> None:
            shown(line)
            if meanwhile and re.match(r"round 1 of \d+: ", line):
                meanwhile.begin()

        code = demo.play(self.place, "rollout", log=log, show=show)
        if meanwhile:
            demo.say(time.monotonic() - began, meanwhile.ended())
        text = (self.place.root / "logs" / log).read_text(encoding="utf-8")
        if code:
            print("\n%s" % text)
        report = demo.read(self.place, "report.json") if (self.place.root / "report.json").exists() else {}
        row = summary(report, code=code, before=self.stages, last_lines=last_lines(text))
        seconds = round(time.monotonic() - began, 1)
        self.done.append({"run": number, "title": asked.title, "seconds": seconds, **row})
        replace_file(self.place.root / "runs.json", json.dumps({"version": 1, "runs": self.done}, indent=1) + "\n")
        demo.say(time.monotonic() - began, demo.totals(report))
        faults = faults_of(asked.opens, report, row)
        if faults:
            raise demo.DemoError("run %d did something else than it is to show: %s" % (number, "; ".join(faults)))
        self.stages = {each["id"]: each["stage"] for each in report["connections"]}


# ---------------------------------------------------------------- what must hold


def refuse_faults(report: dict[str, t.Any], traffic: dict[str, t.Any]) -> None:
    """Raise unless nothing was lost, nobody was silent without a reason, and the accepted risk is all that is left."""
    away = re.compile(r"@(%s)\Z" % "|".join(each.partition("@")[2] for each in (people.ACTIVE, people.SERVER)))
    kept = [row for row in traffic["connections"] if not away.search(row["id"])]
    faults = [each for each in demo.traffic_faults(traffic) if "lost" in each]
    faults += [each for each in demo.traffic_faults({"connections": kept}) if "lost" not in each]
    unprotected = [row["id"] for row in report["connections"] if row["unprotected"]]
    if unprotected != [ACCEPTED]:
        faults.append("the report has %s as unprotected" % (", ".join(unprotected) or "nobody"))
    if faults:
        raise demo.DemoError("it did not hold: %s" % "; ".join(faults))


def show_end(place: fleet.Place, traffic: dict[str, t.Any], *, seconds: float) -> None:
    """Say in a few lines what was shown, and where to look."""
    sent = format(sum(row["sent"] for row in traffic["connections"]), ",")
    print(
        "\nEvery pair but the accepted risk is enforced, in %d runs. Of %s messages none was lost." % (len(RUNS), sent)
    )
    print(
        "%.0f s. runs.json has what each run moved and what it waited for; report.html is the page to look at."
        % seconds
    )
    print("They lie in %s." % place.root)


# ---------------------------------------------------------------- the command line


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line asks for."""
    commands: dict[str, t.Callable[[fleet.Place], t.Any]] = {"run": run, "up": up, "down": demo.down}
    commands |= {act.word: act.do for act in ACTS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=commands, default="run")
    default = os.environ.get("CONNSEC_DEMO_ROOT") or fleet.CHECKOUT / ".demo-hard"
    parser.add_argument("--root", type=Path, default=default, help="the demo's folder")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, demo.interrupted)
    try:
        said = commands[asked.command](fleet.Place(Path(asked.root)))
        if said:
            print(said)
    except (demo.DemoError, FleetError) as error:
        print("\ndemo_hard.py: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo_hard.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
