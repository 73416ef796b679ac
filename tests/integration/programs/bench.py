# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs components of the fleet on loopback addresses of their own, and edits their options as a rollout would."""

from __future__ import annotations

import configparser
import itertools
import json
import os
import signal
import sys
import time
import typing as t
from pathlib import Path

from parts import processes
from parts.records import Row, read_tallies

from .authority import Authority, Material

FLEET: t.Final = Path(__file__).resolve().parents[2] / "fleet"
PORT: t.Final = 12020
TLS_PORT: t.Final = 12021

Options = t.Mapping[str, t.Any]
_nets = itertools.count()


class Running:
    """A component that runs here."""

    def __init__(self, folder: Path, address: str, material: Material) -> None:
        self.folder = folder
        self.address = address
        self.material = material
        self.options = folder / "options.ini"

    def edit(self, section: str, **values: t.Any) -> None:
        """Set options; None takes one away."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.options)
        for key, value in values.items():
            if value is None:
                parser.remove_option(section, key)
            else:
                parser.set(section, key, str(value))
        with self.options.open("w", encoding="utf-8") as file:
            parser.write(file)

    def reload(self) -> None:
        """Make it read its options, and wait until it has said what came of it."""
        said = self.log().count("reloaded") + self.log().count("kept what was")
        os.kill(self.pid, signal.SIGHUP)
        wait(lambda: self.log().count("reloaded") + self.log().count("kept what was") > said)

    @property
    def pid(self) -> int:
        """Its process."""
        pid = processes.running(self.folder)
        assert pid is not None, (self.folder / processes.OUTPUT).read_text()
        return pid

    def log(self) -> str:
        """Return its log."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def tallies(self) -> list[Row]:
        """Return the rows of its traffic, each run by itself."""
        return read_tallies(self.folder / "traffic.jsonl")

    def sessions(self) -> list[Row]:
        """Return its list of sessions, without those that have ended."""
        rows = [json.loads(line) for line in (self.folder / "sessions.jsonl").read_text().splitlines()]
        return [row for row in rows if row["ended"] is None]

    def restart(self) -> None:
        """Stop it and start it anew."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start it."""
        processes.start(self.folder)
        processes.wait_started(self.folder)

    def stop(self) -> None:
        """Stop it."""
        processes.ask_to_end(self.folder)
        processes.wait_ended(self.folder)


class Bench:
    """Components of one test."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        # tests of several processes run side by side
        self._net = "127.%d.%d" % (100 + os.getpid() % 100, next(_nets) % 250)
        self._hosts = itertools.count(1)
        self._running: list[Running] = []

    def component(self, name: str, **sections: Options) -> Running:
        """Return a component that is not started yet; a section is named `listener_x` or `peer_x` here."""
        number = next(self._hosts)
        address = "%s.%d" % (self._net, number)
        folder = self._folder / name
        folder.mkdir()
        files = {"log": "log", "traffic": "traffic.jsonl", "pid_file": processes.PID_FILE, "sessions": "sessions.jsonl"}
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(
            {
                "component": {"name": name, "host": "h%d" % number, "address": address, **files},
                **{section.replace("_", ".", 1): options for section, options in sections.items()},
            }
        )
        with (folder / "options.ini").open("w", encoding="utf-8") as file:
            parser.write(file)
        program = (sys.executable, str(FLEET / "component.py"))
        processes.Command(
            (*program, "options.ini"),
            (*program, "--check", "options.ini"),
            {"OPENSSL_CONF": str(FLEET / "openssl.cnf"), "PYTHONDONTWRITEBYTECODE": "1"},
        ).write(folder)
        running = Running(folder, address, self._authority.issue(address))
        self._running.append(running)
        return running

    def server(self, **listener: t.Any) -> Running:
        """Return a server that is up, with one listener named `main`."""
        running = self.component("server", listener_main={"port": PORT, **listener})
        running.start()
        return running

    def clients(self, server: Running, **options: t.Any) -> list[Running]:
        """Return two clients of a server under traffic: one with a session, one that connects for each message."""
        made = []
        for mode in ("persistent", "message"):
            peer = {"id": mode, "address": server.address, "port": PORT, "mode": mode, "canary": "canary-" + mode}
            running = self.component(mode, peer_server={**peer, **options})
            running.start()
            made.append(running)
        for each in made:
            wait(lambda each=each: any(row["answered"] for row in each.tallies()))
        return made

    def end(self) -> None:
        """Stop everything, clients first."""
        for each in reversed(self._running):
            processes.ask_to_end(each.folder)
            processes.wait_ended(each.folder)


def wait(until: t.Callable[[], t.Any], *, seconds: float = 15.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


def over_tls(component: Running) -> Options:
    """Return the options of a listener of this component that make it present its certificate."""
    return {
        "certificate": component.material.certificate,
        "key": component.material.key,
        "trust": component.material.trust,
    }
