# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A component that runs, and the steps that are taken with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.connsec.tls.plugins.module_utils._core._spec import StepSpec
from ansible_collections.connsec.tls.plugins.module_utils._host._installed import Json
from ansible_collections.connsec.tls.plugins.module_utils._host._step import Step
from ports import free_port

COMPONENT = Path(__file__).with_name("component.py")
#: No site-packages and no environment: it starts in a fraction of the time, and tests/faults leaves it alone.
PYTHON = (sys.executable, "-S", "-E")
PERMIT = "permit-default"


def until(condition: t.Callable[[], t.Any], *, seconds: float = 10) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about within %g s" % seconds
        time.sleep(0.005)


class Bench:
    """One component in its folder, and our folder of its host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "router"
        self.directory = folder / "connsec"
        self.base = self.directory / "router"
        self.options = self.folder / "router.ini"
        self.pid_file = self.folder / "pid"
        self.port, self.tls_port = free_port(), free_port()
        self.original = "# by hand\n[listener]\nport = %d\npassword = hunter2\n\n[log]\nlevel = info" % self.port
        self.folder.mkdir()
        self.options.write_text(self.original)
        self.options.chmod(0o640)
        #: Words that all of its steps have instead of the usual ones.
        self.usual: Json = {}
        self._manager: threading.Thread | None = None
        self._started = 0

    # The component

    def start(self) -> None:
        """Start it, and have somebody wait for its end as a service manager does."""
        with open(self.folder / "log", "ab") as log:
            command = [*PYTHON, str(COMPONENT), str(self.folder)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._manager = threading.Thread(target=process.wait, daemon=True)
        self._manager.start()
        self._started = process.pid
        until(self.pid_file.exists)

    def end(self) -> None:
        """End it, and what a restart made of it."""
        named = self.pid_file.read_text().strip() if self.pid_file.exists() else ""
        for pid in sorted({str(self._started), named}):
            command = Path("/proc", pid, "cmdline")
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in command.read_bytes().split(b"\0"):
                    os.kill(int(pid), signal.SIGKILL)
        if self._manager is not None:
            self._manager.join()

    def loads(self) -> int:
        """Return how often it took its configuration."""
        path = self.folder / "loads"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def answers(self, port: int) -> bool:
        """Return whether it listens on a port."""
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    # Its steps

    def spec(self, **more: t.Any) -> Json:
        """Return a step as the engine describes it: another listener is opened beside the one that is there."""
        return {
            "id": PERMIT,
            "stage": "permit",
            "target": "step permit-default router@urs1",
            "reason": "the listener answers in the clear only",
            "of": ["router.default@urs1"],
            "pairs": ["desk@d1->router.default@urs1"],
            "state": "whole",
            "instance": "router@urs1",
            "component": "router",
            "host": "urs1",
            "directory": str(self.directory),
            "folder": "router",
            "files": [str(self.options)],
            "edits": [self.edit(tls_port=self.tls_port)],
            "test": [*PYTHON, str(COMPONENT), str(self.folder), "--check"],
            "reload": {"signal": "HUP", "pid_file": str(self.pid_file)},
            "process": {"pid_file": str(self.pid_file)},
            "wait_for": [self.waits(self.port), self.waits(self.tls_port)],
            **self.usual,
            **more,
        }

    def edit(self, **options: t.Any) -> Json:
        """Return the edit that sets options of the listener."""
        rows = [{"section": "listener", "key": name, "value": str(value)} for name, value in options.items()]
        return {"path": str(self.options), "format": "ini", "options": rows}

    def waits(self, port: int, *, until_open: bool = True) -> Json:
        """Return that a port has to be open, or closed."""
        return {"address": "127.0.0.1", "port": port, "open": until_open}

    def step(self, **more: t.Any) -> Step:
        """Return a step, with other words where they are given."""
        return Step(StepSpec.parse(self.spec(**more)))

    def reverse(self, **more: t.Any) -> Step:
        """Return a step for taking it back: the clear listener stays, and nobody waits for the other to be open."""
        closed = [self.waits(self.port), self.waits(self.tls_port, until_open=False)]
        return self.step(**{"edits": [], "wait_for": closed, **self.usual, **more})

    # What is seen

    def phase(self) -> str | None:
        """Return the phase that the marker names for the step."""
        entry = self.marker().get(PERMIT)
        return entry and entry["phase"]

    def marker(self) -> Json:
        """Return the entries of the steps that are under way."""
        path = self.base / "pending.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def loaded(self) -> Json:
        """Return what the process was last seen to load."""
        return json.loads((self.base / "loaded.json").read_text())

    def kept(self, step: str = PERMIT) -> list[str]:
        """Return what the snapshot of a step holds."""
        return [path.read_text() for path in sorted((self.base / "steps" / step / "before").iterdir())]

    def is_clean(self) -> bool:
        """Return whether no marker and no temporary file is left."""
        return not self.marker() and not list(self.folder.parent.rglob("*connsec-new"))
