# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, stops and looks at a demo fleet, whose whole state lies in one folder.

fleet.py up                 makes the folder, starts everything in the clear, waits for traffic
fleet.py status             says what runs, and how each pair fares
fleet.py traffic            writes traffic.json
fleet.py down               stops everything; `up` starts it again as it was
fleet.py clean              stops everything and removes the folder
fleet.py restart confserv@cfg1
fleet.py role queue_standby@web1 active
fleet.py check report_engine@rep1

All of them take `--root FOLDER` (.demo if not given). Two fleets run side by side in folders of their own and with
addresses of their own: `CONNSEC_FLEET_NET=127.78.0`, or `up --net 127.78.0`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from parts import FleetError, processes
from parts.pki_team import Team
from parts.records import Row, read_tallies, replace_file
from parts.settings import STANDBY

if t.TYPE_CHECKING:
    from parts.inventory import Fleet, Instance, Pair

PROGRAMS: t.Final = Path(__file__).resolve().parent
CHECKOUT: t.Final = PROGRAMS.parents[1]
#: Marks a folder as ours, and says which inventory it belongs to.
MARKER: t.Final = "fleet.json"
#: The inventories that have a name.
INVENTORIES: t.Final = {
    "demo": CHECKOUT / "inventory" / "demo",
    "demo-hard": CHECKOUT / "inventory" / "demo-hard",
    "small": PROGRAMS / "small",
}
#: What the store is encrypted with; a demo makes it up.
PASSPHRASE: t.Final = "passphrase"
#: What PKI teams around the fleet have: a folder each, and their root beside it for everybody.
TEAMS: t.Final = "pki"
#: In the folder of an instance: whether it is the active one or a standby; key and certificate from the start.
ROLE: t.Final = "role"
OWN_KEY: t.Final = "own.key"
OWN_CERTIFICATE: t.Final = "own.pem"
JAVA_SOURCE: t.Final = PROGRAMS / "java" / "Component.java"

#: Seconds in which every client has to have had an answer.
_TRAFFIC_SECONDS: t.Final = 30.0
#: A small heap, a quick start, and the groups of Mozilla's intermediate profile.
_JVM_OPTIONS: t.Final = (
    "-Xms16m", "-Xmx48m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    "-Djdk.tls.namedGroups=x25519,secp256r1,secp384r1", "-Djdk.tls.rejectClientInitiatedRenegotiation=true",
)  # fmt: skip


class Place:
    """The folder of a fleet."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @property
    def marker(self) -> dict[str, t.Any]:
        """What `up` noted."""
        try:
            return dict(json.loads((self.root / MARKER).read_text(encoding="utf-8")))
        except OSError as error:
            raise FleetError("%s is not the folder of a fleet; `up` makes one" % self.root) from error

    def folder(self, name: str) -> Path:
        """Return the folder of an instance."""
        component, _unused, host = name.partition("@")
        return self.root / "hosts" / host / component

    def team(self, name: str, words: str = "") -> Team:
        """Return a PKI team around the fleet."""
        return Team(self.root / TEAMS / name, words or name)

    def root_of(self, team: str) -> Path:
        """Return the root certificate of a PKI team, as everybody may have it."""
        return self.root / TEAMS / (team + ".pem")

    def fleet(self) -> Fleet:
        """Return the fleet that lives here."""
        from parts.inventory import read_fleet

        return read_fleet(Path(self.marker["inventory"]))

    def rows(self, fleet: Fleet) -> list[Row]:
        """Return the tallies of all instances."""
        return [row for each in fleet.instances for row in read_tallies(self.folder(each.name) / "traffic.jsonl")]


# ---------------------------------------------------------------- up


def up(place: Place, asked: argparse.Namespace) -> None:
    """Make the folder, start everything that does not run, and wait until every client has had an answer."""
    inventory = _inventory(place, asked)
    fleet = place.fleet()
    if fleet.java:
        _compile(place)
    for name, words in fleet.teams.items():
        place.team(name, words).found()
        shutil.copyfile(place.team(name).root, place.root_of(name))
    for each in fleet.instances:
        _make_instance(place, fleet, each)
    since = int(time.time() * 1000)
    started = {each.name for each in fleet.instances if processes.start(place.folder(each.name))}
    for each in fleet.instances:
        processes.wait_started(place.folder(each.name))
    if not asked.no_wait:
        awake = [pair.id for pair in fleet.pairs if pair.client.name in started and not pair.dormant]
        _wait_for_traffic(place, fleet, awake, since=since)
    print(
        "%d components on %d hosts are up, with %d pairs under traffic"
        % (len(fleet.instances), len({each.host for each in fleet.instances}), len(fleet.pairs))
    )
    print("inventory: %s" % inventory)


def _inventory(place: Place, asked: argparse.Namespace) -> Path:
    """Return the inventory to use: the given one, or a copy of it that is bound to another place or leaves Java out.

    A copy that is there already is used as it is, for it may have been edited.
    """
    from parts.inventory import bind_inventory, read_fleet

    known = place.marker if (place.root / MARKER).exists() else {}
    source = Path(INVENTORIES.get(asked.inventory, asked.inventory) or known.get("source") or INVENTORIES["demo"])
    source = source.resolve()
    net = asked.net or os.environ.get("CONNSEC_FLEET_NET") or known.get("net")
    java = not read_fleet(source).java or _has_java()
    is_default = place.root == CHECKOUT / ".demo" and source == INVENTORIES["demo"]
    inventory = source
    place.root.mkdir(parents=True, exist_ok=True)
    _make_passphrase(place)
    if net or not java or not is_default:
        inventory = place.root / "inventory"
        if inventory.exists() and known.get("source", str(source)) != str(source):
            shutil.rmtree(inventory)
        if not inventory.exists():
            shutil.copytree(source, inventory)
        bind_inventory(inventory, root=place.root, programs=PROGRAMS, net=net, java=java)
    marker = {"inventory": str(inventory), "source": str(source), "net": net, "java": java}
    replace_file(place.root / MARKER, json.dumps(marker, indent=1) + "\n")
    return inventory


def _make_passphrase(place: Place) -> None:
    with contextlib.suppress(FileExistsError):
        file = os.open(place.root / PASSPHRASE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="ascii") as made:
            made.write(secrets.token_urlsafe(24) + "\n")


def _has_java() -> bool:
    missing = [name for name in ("java", "javac") if shutil.which(name) is None]
    if missing:
        print(
            "#" * 80
            + "\n# NO JDK IS HERE (%s is missing): the Java component, report_engine, and its\n" % missing[0]
            + "# connections are LEFT OUT of this fleet.\n"
            + "#" * 80
        )
    return not missing


def _compile(place: Place) -> None:
    classes = place.root / "java"
    made = classes / "Component.class"
    if made.exists() and made.stat().st_mtime > JAVA_SOURCE.stat().st_mtime:
        return
    done = subprocess.run(
        ["javac", "-Xlint:all", "-d", str(classes), str(JAVA_SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise FleetError("javac refuses %s:\n%s%s" % (JAVA_SOURCE, done.stdout, done.stderr))


def _make_instance(place: Place, fleet: Fleet, instance: Instance) -> None:
    """Write what an instance needs; its options only once, for a rollout edits them."""
    folder = place.folder(instance.name)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [pair for pair in fleet.pairs if pair.client == instance]
    environment = folder / processes.ENVIRONMENT
    if not environment.exists():
        environment.write_text("# The variables of this component's process.\n", encoding="utf-8")
    if instance.standby and not (folder / ROLE).exists():
        (folder / ROLE).write_text(STANDBY + "\n", encoding="ascii")
    if instance.signed_by and not (folder / OWN_CERTIFICATE).exists():
        key, certificate = place.team(instance.signed_by).issue(instance.component, instance.address)
        shutil.move(key, folder / OWN_KEY)
        shutil.copyfile(certificate, folder / OWN_CERTIFICATE)
    ini = _python(place, instance, pairs, _passed_on(fleet, instance))
    name, text, run, check = _java(place, instance, pairs) if instance.is_java else ini
    if not (folder / name).exists():
        replace_file(folder / name, text)
    variables = {"OPENSSL_CONF": str(PROGRAMS / "openssl.cnf"), "PYTHONDONTWRITEBYTECODE": "1"}
    processes.Command(run, check, {} if instance.is_java else variables).write(folder)


def _passed_on(fleet: Fleet, instance: Instance) -> dict[str, dict[str, t.Any]]:
    """Return the pools of an instance that passes connections on: one for each listener that is dialled through it."""
    pools: dict[str, dict[str, t.Any]] = {}
    for pair in fleet.pairs:
        if instance in pair.through:
            listener = pair.server.listeners[pair.listener]
            members = [each for each in fleet.instances if each.component == pair.server.component]
            pools["pool." + pair.server.component] = {
                "ports": "%d %d" % (listener["port"], listener["secure_port"]),
                "members": " ".join("%s.%s" % (each.component, each.host) for each in members),
            }
    return pools


def _python(
    place: Place, instance: Instance, pairs: t.Sequence[Pair], pools: dict[str, dict[str, t.Any]]
) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    program, folder = (sys.executable, str(PROGRAMS / "component.py")), place.folder(instance.name)
    sections = {"component": {**_identity(instance), **({"role": ROLE} if instance.standby else {})}}
    for name, listener in instance.listeners.items():
        postgresql = listener["protocol"] == "postgresql"
        sections["listener." + name] = {
            "port": listener["port"],
            "protocol": "postgresql" if postgresql else "line",
            **({} if listener.get("secure_port") else {"tls": "only" if instance.on_tls else "off"}),
            **({"certificate": folder / OWN_CERTIFICATE, "key": folder / OWN_KEY} if instance.on_tls else {}),
            **({"transport": listener["transport"]} if "transport" in listener else {}),
        }
    for pair in pairs:
        sections["peer.%s.%s" % (pair.server.component, pair.server.host)] = {
            **_peer(pair),
            **({"transport": pair.transport} if pair.transport != "tcp" else {}),
            **({"tls": "yes", "trust": place.root_of(str(pair.server.signed_by))} if pair.server.on_tls else {}),
        }
    text = "\n".join(
        "[%s]\n%s" % (section, "".join("%s = %s\n" % item for item in values.items()))
        for section, values in {**sections, **pools}.items()
    )
    name = "options.ini"
    return name, "; The options of %s.\n\n%s" % (instance.name, text), (*program, name), (*program, "--check", name)


def _java(
    place: Place, instance: Instance, pairs: t.Sequence[Pair]
) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    program = (str(shutil.which("java")), *_JVM_OPTIONS, "-cp", str(place.root / "java"), "Component")
    (listener,) = instance.listeners.values()
    values = {**_identity(instance), "port": listener["port"]}
    for pair in pairs:
        prefix = "peer.%s.%s." % (pair.server.component, pair.server.host)
        values.update({prefix + key: value for key, value in _peer(pair).items()})
    text = "# The options of %s.\n" % instance.name + "".join("%s=%s\n" % item for item in values.items())
    name = "options.properties"
    return name, text, (*program, name), (*program, "--check", name)


def _identity(instance: Instance) -> dict[str, t.Any]:
    return {
        "name": instance.component,
        "host": instance.host,
        "address": instance.address,
        "log": "component.log",
        "traffic": "traffic.jsonl",
        "pid_file": processes.PID_FILE,
        "sessions": "sessions.jsonl",
    }


def _peer(pair: Pair) -> dict[str, t.Any]:
    return {
        "id": pair.id,
        "address": pair.dial or pair.server.address,
        "port": pair.port,
        "protocol": pair.protocol,
        "mode": pair.mode,
        "tls": "no",
        "verify": "yes",
        "canary": pair.canary,
        "patience": "%g" % (5 + pair.interruption),
    }


def _wait_for_traffic(place: Place, fleet: Fleet, pairs: t.Sequence[str], *, since: int) -> None:
    end = time.monotonic() + _TRAFFIC_SECONDS
    while True:
        rows = [row for row in place.rows(fleet) if row["role"] == "client" and row["run"] >= since]
        silent = sorted(set(pairs) - {row["id"] for row in rows if row["answered"]})
        if not silent:
            return
        if time.monotonic() > end:
            raise FleetError("no message was answered on %s" % ", ".join(silent))
        time.sleep(0.1)


# ---------------------------------------------------------------- the others


def down(place: Place, asked: argparse.Namespace) -> None:
    """Stop everything: whoever dials before whomever it dials, so that nobody misses an answer."""
    fleet = place.fleet()
    for level in fleet.clients_first():
        for each in level:
            processes.ask_to_end(place.folder(each.name))
        for each in level:
            processes.wait_ended(place.folder(each.name))
    for folder in sorted(path.parent for path in place.root.glob("hosts/*/*/" + processes.PROCESS)):
        processes.ask_to_end(folder)  # one that the inventory does not have any more
        processes.wait_ended(folder)
    print("the fleet in %s is down" % place.root)


def clean(place: Place, asked: argparse.Namespace) -> None:
    """Stop everything and remove the folder, which is one that `up` made."""
    if (place.root / MARKER).exists():
        down(place, asked)
        shutil.rmtree(place.root)


def restart(place: Place, asked: argparse.Namespace) -> None:
    """Stop an instance and start it anew, with the variables that its environment file holds now."""
    folder = place.folder(asked.instance)
    processes.Command.read(folder)
    processes.ask_to_end(folder)
    processes.wait_ended(folder)
    processes.start(folder)
    processes.wait_started(folder)


def role(place: Place, asked: argparse.Namespace) -> None:
    """Make an instance the active one, or a standby that refuses everybody."""
    folder = place.folder(asked.instance)
    replace_file(folder / ROLE, asked.role + "\n")
    processes.reload(folder)


def check(place: Place, asked: argparse.Namespace) -> int:
    """Test the options of an instance."""
    return processes.check(place.folder(asked.instance))


def traffic(place: Place, asked: argparse.Namespace) -> None:
    """Write what became of all messages so far."""
    from parts.traffic import account

    fleet = place.fleet()
    alive = any(processes.running(place.folder(each.name)) for each in fleet.instances)
    text = json.dumps(account(fleet, place.rows(fleet), alive=alive), indent=1)
    replace_file(asked.output or place.root / "traffic.json", text + "\n")


def status(place: Place, asked: argparse.Namespace) -> int:
    """Say what runs and how each pair fares; 1 if something does not run."""
    from parts.traffic import account, table

    fleet = place.fleet()
    pids = {each.name: processes.running(place.folder(each.name)) for each in fleet.instances}
    for name, pid in pids.items():
        print("%-24s %s" % (name, "runs as %d" % pid if pid else "is down"))
    print("\n" + table(account(fleet, place.rows(fleet), alive=any(pids.values()))))
    return 0 if all(pids.values()) else 1


_COMMANDS: t.Final = {each.__name__: each for each in (up, down, clean, restart, role, check, traffic, status)}


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root: dict[str, t.Any] = {"type": Path, "help": "the fleet's folder; .demo if not given"}
    parser.add_argument("--root", default=CHECKOUT / ".demo", **root)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        sub = commands.add_parser(name, help=(command.__doc__ or "").partition("\n")[0])
        sub.add_argument("--root", default=argparse.SUPPRESS, **root)
        sub.add_argument(
            "--inventory", "--fleet", metavar="demo|small|FOLDER", help="whose fleet; only `up` asks, the folder knows"
        )
        if name == "up":
            sub.add_argument("--net", help="other addresses, such as 127.78.0, so that two fleets run side by side")
            sub.add_argument("--no-wait", action="store_true", help="do not wait for traffic")
        elif name == "traffic":
            sub.add_argument("--output", type=Path, help="where to write, if not to the fleet's folder")
        elif name in ("restart", "role", "check"):
            sub.add_argument("instance", help="such as confserv@cfg1")
        if name == "role":
            sub.add_argument("role", choices=("active", STANDBY))
    asked = parser.parse_args(arguments)
    try:
        return _COMMANDS[asked.command](Place(asked.root), asked) or 0
    except FleetError as error:
        print("fleet.py: %s" % error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
