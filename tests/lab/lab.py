# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots real hosts on this machine, for tests and for trying things out.

lab.py build                            makes the base tree that all hosts lie on, once, in the user's cache
lab.py up --hosts web1,web2,db1=64m     boots hosts; a size limits what can be written on one
lab.py status                           says which labs there are, and what runs
lab.py inventory                        says which inventory reaches them: ansible-playbook -i $(lab.py inventory) ...
lab.py ssh web1 systemctl start nginx   runs a command on a host
lab.py pause web1 / resume web1         pulls a host's cable, and plugs it in again
lab.py stop web1 / start web1           shuts a host down, and boots it again; `stop --hard` cuts its power
lab.py down                             removes everything but the base tree, also what a killed `up` left

All of them take `--net 10.77.0`, three numbers of a private network: two labs live beside each other in two networks.
It ends with 0; with 1 and a sentence if it cannot do what was asked; with 3 if this machine cannot run a lab at all.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import LabError, Unfit, driver, state
from lab.names import NET, Net, parse_hosts

FAILED: t.Final = 1
UNFIT: t.Final = 3


def build(asked: argparse.Namespace) -> None:
    """Make the base tree, if it is not there."""
    tree = driver.build(_say())
    figures = tree.figures
    print("%s: %.2f GB, made in %.0f s" % (tree.folder, figures["bytes"] / 1e9, figures["seconds"]))


def up(asked: argparse.Namespace) -> None:
    """Boot hosts, and return when all answer over SSH."""
    began = time.monotonic()
    lab = driver.up(asked.net, parse_hosts(asked.hosts), say=_say())
    print("%d hosts answer over SSH after %.1f s" % (len(lab.hosts), time.monotonic() - began))
    print("inventory: %s" % lab.inventory)


def down(asked: argparse.Namespace) -> None:
    """Remove a lab, or what is left of one."""
    driver.down(asked.net, say=_say())


def inventory(asked: argparse.Namespace) -> None:
    """Print the path of the inventory."""
    print(driver.find_lab(asked.net).inventory)


def ssh(asked: argparse.Namespace) -> None:
    """Run a command on a host, or open a shell there."""
    driver.open_shell(asked.net, asked.host, asked.words)


def pause(asked: argparse.Namespace) -> None:
    """Pull a host's cable."""
    driver.find_lab(asked.net).pause(asked.host)


def resume(asked: argparse.Namespace) -> None:
    """Plug a host's cable in again."""
    driver.find_lab(asked.net).resume(asked.host)


def stop(asked: argparse.Namespace) -> None:
    """Shut a host down, or cut its power."""
    driver.find_lab(asked.net).stop(asked.host, gently=not asked.hard)


def start(asked: argparse.Namespace) -> None:
    """Boot a host that was stopped."""
    driver.find_lab(asked.net).start(asked.host)


def status(asked: argparse.Namespace) -> None:
    """Say which labs there are, and what runs."""
    for net in driver.labs():
        known = state.read(net)
        print(
            "%s.0/24 %s" % (net.prefix, "is up" if known and not known.abandoned else "is abandoned; `down` removes it")
        )
        for host in known.hosts if known else ():
            print("  %-16s %-15s %s" % (host.name, host.address, "runs" if driver.is_running(host) else "is stopped"))


def _say() -> t.Callable[[str], None]:
    began = time.monotonic()
    return lambda words: print("%6.1f s  %s" % (time.monotonic() - began, words), flush=True)


_COMMANDS: t.Final = {
    each.__name__: each for each in (build, up, down, status, inventory, ssh, pause, resume, stop, start)
}


def _net(text: str) -> Net:
    try:
        return Net(text)
    except LabError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    net: dict[str, t.Any] = {"type": _net, "help": "its network; %s if not given" % NET}
    parser.add_argument("--net", default=Net(), **net)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        sub = commands.add_parser(name, help=(command.__doc__ or "").partition("\n")[0])
        sub.add_argument("--net", default=argparse.SUPPRESS, **net)
        if name == "up":
            sub.add_argument("--hosts", required=True, help="names, and sizes where they are limited: web1,db1=64m")
        elif name in ("ssh", "pause", "resume", "stop", "start"):
            sub.add_argument("host")
        if name == "ssh":
            sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="a shell if not given")
        elif name == "stop":
            sub.add_argument("--hard", action="store_true", help="cut its power")
    return parser


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line asks for."""
    asked = _parser().parse_args(arguments)
    try:
        _COMMANDS[asked.command](asked)
        return 0
    except LabError as error:
        print("lab.py: %s" % error, file=sys.stderr)
        return UNFIT if isinstance(error, Unfit) else FAILED


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(128 + signal.SIGTERM))  # and clean up on the way
    sys.exit(main())
