# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A component that runs: its listeners, peers and pools, and the files that tell of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import typing as t
from pathlib import Path

from .dialling import Dialler, routes_of
from .pooling import Pools
from .records import Log, SessionList, Tallies, replace_file
from .serving import Server, server_contexts
from .settings import Settings, SettingsError, read_settings


class Component:
    """A running component."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        self._log = Log(settings.log)
        self._listed = SessionList(settings.sessions)
        self._tallies = Tallies(settings.traffic)
        self._server = Server(self._log, self._listed)
        self._dialler = Dialler(self._log)
        self._pools = Pools(self._log, self._dialler.answers)
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serve and dial until SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._note_error)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        loop.add_signal_handler(signal.SIGINT, self._ending.set)
        self._apply(self._settings)
        replace_file(self._settings.pid_file, "%d\n" % os.getpid())
        self._log.write("started %d" % os.getpid())
        while not self._ending.is_set():
            self._write()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1.0)
        await self._dialler.stop()
        await self._pools.stop()
        self._write()
        await self._server.stop()
        self._write()
        self._log.write("ended %d" % os.getpid())
        self._settings.pid_file.unlink(missing_ok=True)

    def _write(self) -> None:
        self._tallies.write([*self._server.rows(), *self._dialler.rows()])
        self._listed.write()

    def _apply(self, settings: Settings) -> None:
        """Take over settings: all of them, or none."""
        contexts = server_contexts(settings)
        routes = routes_of(settings.peers, settings.address)
        self._server.apply(settings, contexts)
        self._pools.apply(settings)
        self._dialler.apply(routes)

    def _reload(self) -> None:
        try:
            self._apply(read_settings(self._path))
        except SettingsError as error:
            self._log.write("kept what was, for the new options cannot be used: %s" % error)
        else:
            self._log.write("reloaded")

    def _note_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, t.Any]) -> None:
        self._log.write("error %s %r" % (context.get("message"), context.get("exception")))
