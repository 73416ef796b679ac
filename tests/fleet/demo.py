# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a small contact centre on loopback addresses moves from plaintext to TLS, and talks all the while.

demo.py             starts it afresh, shows the plan, rolls out wave after wave, tells what became of it all, stops it
demo.py up          starts it afresh in the clear, leaves it running, and says what to try on it
demo.py down        stops it

All of them take `--root FOLDER` (CONNSEC_DEMO_ROOT, or .demo). A demo leaves there `report.html`, `report.json`,
`traffic.json`, `store/`, and the whole output of each playbook in `logs/`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
import typing as t
from pathlib import Path

import fleet
from parts import FleetError
from parts.processes import Family
from parts.traffic import aligned, overdue, table

#: Where ansible-playbook is: beside the Python that runs this.
BIN: t.Final = Path(sys.executable).parent
WIDTH: t.Final = 116
ENFORCED: t.Final = ("-e", "tls_until=enforced")
EVERYTHING: t.Final = ("-e", "tls_scope=all")

#: What is shown of a rollout: tasks that take a while, in other words, and what the run itself says of its rounds.
TASKS: t.Final = {
    "Observe": "every host has been looked at",
    "Make what is missing in the store": "keys and certificates are made, in one batch",
    "Install material": "they are installed, in one round trip a host; no process is touched",
    "Set the environment of the security libraries": "the environment of security libraries is set",
}
TASK: t.Final = re.compile(r"TASK \[(?:.* : )?(.+?)\]")
SAID: t.Final = re.compile(r"round \d+ of \d+: |\S+->\S+ is held: ")


class DemoError(Exception):
    """The demo did not do what it is there to show; one sentence says what."""


# ---------------------------------------------------------------- what the command line asks for


def run(place: fleet.Place) -> None:
    """Start a fleet in the clear, move it to TLS, say what became of it, and stop it."""
    began = time.monotonic()
    with stopped_afterwards(place):
        heading("The fleet starts, in plaintext")
        start_afresh(place)
        heading("The plan: what a rollout would do, shown before anything is touched", command("plan", EVERYTHING))
        show_plan(place)
        for wave, count in waves(place):
            heading("Wave %d: %d pairs move to TLS" % (wave, count), command("rollout"))
            roll_out(place, wave)
    fleet_program(place, "traffic")
    heading("The result")
    report, traffic = read(place, "report.json"), read(place, "traffic.json")
    show_result(report, traffic)
    refuse_faults(report, traffic)
    show_end(place, report, traffic, seconds=time.monotonic() - began)


def up(place: fleet.Place) -> None:
    """Start a fleet in the clear, leave it running, and say what to try on it."""
    start_afresh(place)
    setting = {"ANSIBLE_CONFIG": fleet.CHECKOUT / "ansible.cfg", "CONNSEC_DEMO_ROOT": place.root}
    tries = (
        ("who talks to whom, and why each pair is what it is", "enumerate", ()),
        ("what a rollout would do", "plan", EVERYTHING),
        ("the next wave moves to TLS; run it once for each wave", "rollout", ()),
        ("everything is looked at again", "verify", ()),
        ("what the ledger has, in report.html", "report", ()),
        ("all the way back to plaintext", "rollback", EVERYTHING),
    )
    print("\nIt runs until `make demo-down`. To try every playbook on it, first, in this shell:\n")
    for name, value in setting.items():
        print("  export %s=%s" % (name, shlex.quote(str(value))))
    print("  export PATH=%s:$PATH\n" % shlex.quote(str(BIN)))
    for words, name, extra in tries:
        print("  # %s\n  %s" % (words, command(name, extra, inventory=inventory(place))))
    programs = shlex.join([str(BIN / "python"), str(fleet.PROGRAMS / "fleet.py"), "status", "--root", str(place.root)])
    print("  # what runs, and how the messages of each pair fare\n  %s" % programs)


def down(place: fleet.Place) -> None:
    """Stop the fleet, if one was started here."""
    if (place.root / fleet.MARKER).exists():
        fleet_program(place, "down")
    else:
        print("nothing was started in %s" % place.root)


# ---------------------------------------------------------------- the fleet


def fleet_program(place: fleet.Place, *arguments: str) -> None:
    """Have the fleet's program do something, or fail with what it said."""
    if fleet.main([*arguments, "--root", str(place.root)]):
        raise DemoError("the fleet in %s did not do its part: see above" % place.root)


def start_afresh(place: fleet.Place, *, inventory: str = "demo") -> None:
    """Remove the demo that was here, if it is one, and start another."""
    if place.root.exists() and any(place.root.iterdir()) and not (place.root / fleet.MARKER).exists():
        raise DemoError("%s holds something that is not a demo; move it away, or give another --root" % place.root)
    fleet_program(place, "clean")
    fleet_program(place, "up", "--inventory", inventory)
    (place.root / "logs").mkdir()


@contextlib.contextmanager
def stopped_afterwards(place: fleet.Place) -> t.Iterator[None]:
    """Stop the fleet in the end, however that comes: every program by its number, and nothing interrupts that."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        down(place)


def waves(place: fleet.Place) -> list[tuple[int, int]]:
    """Return the waves, each with the number of its pairs."""
    return sorted(collections.Counter(pair.wave for pair in place.fleet().pairs).items())


def inventory(place: fleet.Place) -> str:
    """Return the fleet's inventory."""
    return str(place.marker["inventory"])


# ---------------------------------------------------------------- the playbooks


def command(name: str, extra: t.Sequence[str] = (), *, inventory: str = "INVENTORY") -> str:
    """Return how a playbook is run, for people and for the shell."""
    return " ".join(["ansible-playbook -i", shlex.quote(inventory), "connsec.tls." + name, *until(name), *extra])


def until(name: str) -> tuple[str, ...]:
    """Return how far a playbook may go: the demo goes all the way, which nobody does by default."""
    return ENFORCED if name in ("plan", "rollout") else ()


def playbook(place: fleet.Place, name: str, *extra: str, log: str, show: t.Callable[[str], None]) -> None:
    """Run a playbook and show its lines as they come; where it fails, print all of them."""
    code = play(place, name, *extra, log=log, show=show)
    path = place.root / "logs" / log
    if code:
        print("\n%s" % path.read_text(encoding="utf-8"))
        raise DemoError("connsec.tls.%s ended with %d; all that it said stands above, and in %s" % (name, code, path))


def play(place: fleet.Place, name: str, *extra: str, log: str, show: t.Callable[[str], None]) -> int:
    """Run a playbook, show its lines as they come, and return how it ended."""
    argv = [str(BIN / "ansible-playbook"), "-i", inventory(place), "connsec.tls." + name, *until(name), *extra]
    path = place.root / "logs" / log
    process = subprocess.Popen(
        argv,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process, path.open("w", encoding="utf-8") as file:
        try:
            for line in process.stdout or ():
                file.write(line)
                show(line.rstrip("\n"))
            return process.wait()
        except BaseException:
            end(process)
            raise


def end(process: subprocess.Popen[str], *, patience: float = 10.0) -> None:
    """End a playbook with its workers, which have sessions of their own.

    Ansible passes Ctrl-C on to them. One that comes while it forks a worker can be lost in Python's callbacks around a
    fork, and then it waits for ever for workers that have ended, or forgets the one that it was starting.
    """
    family = Family.held(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    family.go_on()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    family.kill()
    if process.poll() is None:
        Family.held(process.pid).kill()
        process.wait()


def environment(place: fleet.Place) -> dict[str, str]:
    """Return the environment of playbooks: the checkout's settings, and none of the user's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {
        **kept,
        "ANSIBLE_CONFIG": str(fleet.CHECKOUT / "ansible.cfg"),
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_HOME": str(place.root / "ansible"),
        "ANSIBLE_NOCOLOR": "true",
        "CONNSEC_DEMO_ROOT": str(place.root),
        "PATH": "%s:%s" % (BIN, os.environ["PATH"]),
    }


def show_plan(place: fleet.Place) -> None:
    """Show the plan for all waves, from its heading to the empty line at its end."""
    shown = False

    def show(line: str) -> None:
        nonlocal shown
        shown = line.startswith("PLAN ") or (shown and bool(line))
        if shown:
            print("   " + line.replace(str(place.root), "."))

    playbook(place, "plan", *EVERYTHING, log="plan.log", show=show)


def roll_out(place: fleet.Place, wave: int) -> None:
    """Roll out the next wave, with a line for each round and for each gate."""
    began = time.monotonic()
    playbook(place, "rollout", log="rollout-%d.log" % wave, show=progress(began))
    say(time.monotonic() - began, totals(read(place, "report.json")))


def progress(began: float) -> t.Callable[[str], None]:
    """Return what shows of a rollout's lines those that tell how far it is."""
    tasks = dict(TASKS)

    def show(line: str) -> None:
        task = TASK.match(line)
        words = tasks.pop(task.group(1), None) if task else line if SAID.match(line) else None
        if words:
            say(time.monotonic() - began, words)

    return show


def totals(report: dict[str, t.Any]) -> str:
    """Return how many pairs have which status, in words."""
    counts = collections.Counter(row["status"] for row in report["connections"])
    total = ["%d %s" % (counts[name], name) for name in ("done", "waiting", "blocked", "failed") if counts[name]]
    return "of %d pairs: %s" % (sum(counts.values()), ", ".join(total))


# ---------------------------------------------------------------- what is said


def heading(words: str, command: str = "") -> None:
    """Begin a part of the demo, with the command that somebody else would type for it."""
    print("\n== %s %s" % (words, "=" * max(0, WIDTH - len(words) - 4)))
    if command:
        print("   %s\n" % command)


def say(seconds: float, words: str) -> None:
    """Say a line of progress, with the time that has passed."""
    lines = textwrap.wrap(words, WIDTH - 10, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        print("%5.0f s  " % seconds + line if number == 0 else " " * 9 + line, flush=True)


def show_result(report: dict[str, t.Any], traffic: dict[str, t.Any]) -> None:
    """Show where each pair stands, and what became of its messages."""
    rows = [("pair", "mode", "stage", "seen", "expires")]
    rows += [
        (row["id"], row["mode"], row["stage"], security_seen(row), (row["expires"] or "")[:10])
        for row in report["connections"]
    ]
    print("\n".join(aligned(rows)))
    print("\n" + table(traffic))


def security_seen(row: dict[str, t.Any]) -> str:
    """Return how safe the newest evidence says that a pair is, and whether live traffic showed it."""
    found = [item["security"] for item in row["evidence"] if item["holds"] and item["security"]]
    live = any(item["live"] for item in row["evidence"])
    return "%s%s" % (found[-1] if found else "nothing", "" if live else ", unexercised")


def show_end(place: fleet.Place, report: dict[str, t.Any], traffic: dict[str, t.Any], *, seconds: float) -> None:
    """Say in a few lines what was shown, and where to look."""
    sent = sum(row["sent"] for row in traffic["connections"])
    print(
        "\nAll %d pairs are enforced: plaintext is refused everywhere. Of %s messages none was lost. %.0f s."
        % (len(report["connections"]), format(sent, ","), seconds)
    )
    print(
        "Look at %s in a browser; report.json, traffic.json, store/ and logs/ lie beside it."
        % (place.root / "report.html")
    )
    print("`make demo-up` keeps such a fleet running, to try every playbook on it.")


# ---------------------------------------------------------------- what must hold


def refuse_faults(report: dict[str, t.Any], traffic: dict[str, t.Any]) -> None:
    """Raise unless every pair is enforced, nothing was lost, and nobody was silent for longer than announced."""
    faults = [
        "%s is %s, %s" % (row["id"], row["stage"], row["status"])
        for row in report["connections"]
        if (row["stage"], row["status"]) != ("enforced", "done")
    ]
    faults += traffic_faults(traffic)
    if faults:
        raise DemoError("it did not hold: %s" % "; ".join(faults))


def traffic_faults(traffic: dict[str, t.Any]) -> list[str]:
    """Return which messages were lost, and who was silent for longer than announced."""
    lost = ["%d messages were lost on %s" % (row["lost"], row["id"]) for row in traffic["connections"] if row["lost"]]
    silent = [
        "%s was silent for %d ms and %d ms were announced" % (row["id"], row["longest_gap_ms"], row["announced_ms"])
        for row in traffic["connections"]
        if overdue(row)
    ]
    return lost + silent


def read(place: fleet.Place, name: str) -> dict[str, t.Any]:
    """Return what a file of the demo holds."""
    found: dict[str, t.Any] = json.loads((place.root / name).read_text(encoding="utf-8"))
    return found


# ---------------------------------------------------------------- the command line

COMMANDS: t.Final = {each.__name__: each for each in (run, up, down)}


def interrupted(number: int, frame: t.Any) -> t.NoReturn:
    """Take SIGTERM for Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="run")
    default = os.environ.get("CONNSEC_DEMO_ROOT") or fleet.CHECKOUT / ".demo"
    parser.add_argument("--root", type=Path, default=default, help="the demo's folder")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        COMMANDS[asked.command](fleet.Place(Path(asked.root)))
    except (DemoError, FleetError) as error:
        print("\ndemo.py: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
