# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance as its host shows it; private to this collection.

What cannot be seen is named in ``unreadable`` and never guessed.
"""

from __future__ import annotations

import functools
import json
import os
import time
import typing as t

from .._core._errors import TlsError
from ._process import pids_of, started_at, user_of, variables_of
from ._reading import read_text

if t.TYPE_CHECKING:
    from ._sockets import Row

_SESSIONS_LIMIT: t.Final = 8 << 20
_SESSIONS_SECONDS: t.Final = 10.0

Json = t.Dict[str, t.Any]
Asked = t.Mapping[str, t.Any]
_Seen = t.TypeVar("_Seen")


class RequestRefused(TlsError):
    """A request asks for something that cannot be looked at."""


class Missing(RequestRefused):
    """A file is not there."""


class Sight:
    """An instance that is looked at, with what could not be seen of it."""

    def __init__(self, asked: Asked, directory: str) -> None:
        """Take in what is to be seen: a row of a request's ``instances``, and the host's folder of ours."""
        self.asked = asked
        self.directory = directory
        self.unreadable: dict[str, str] = {}
        self.recent: dict[tuple[str, str], Json] = {}
        #: The host's addresses, beside those that the instance's sockets have: what is left of sockets stands there.
        self.addresses: set[str] = set(asked.get("addresses") or ())
        self._gathered: dict[str, Json] = {}
        self._listing: t.Callable[[], str] | None = None
        self._pids: list[int] | None = None
        self._noted: float | None = None

    def pids(self) -> list[int]:
        """Return the instance's processes, found once."""
        if self._pids is None:
            self._pids = self._try("process", lambda: pids_of(self.asked.get("process"))) or []
        return self._pids

    def to_json(self) -> Json:
        """Return what the instance shows."""
        if self.asked.get("sockets") and not self.asked.get("process"):
            self.unreadable["process"] = "nothing says how its process is found"
        seen: Json = dict(self._try("installed", self._installed) or {})
        if self.asked.get("back"):
            seen["refused"] = self._try("refused", self._refusals) or {}
        reads = self._reads()
        seen.update(
            reads=reads,
            process=self._process(),
            environment=self._try("environment", self._environment),
            adopted=self._adopted(),
            sessions=self._try("sessions", self._sessions_of_all_looks),
            sockets=[row.to_json() for row in self.sockets()] if self.asked.get("sockets") else [],
            udp=self._try("udp", self._udp),
            recent=self.recent_rows(),
            unreadable=self.unreadable,
        )
        return seen

    # Sockets

    def sockets(self) -> list[Row]:
        """Return the sockets of the instance's processes, and of the program that it speaks for."""
        besides = (self.asked.get("process") or {}).get("besides")
        pids = [*self.pids(), *(self._try("process", lambda: pids_of(besides)) or [])]
        if not pids:
            return []
        from ._sockets import own_sockets

        return self._try("sockets", lambda: own_sockets(pids, addresses=self.addresses)) or []

    def _udp(self) -> Json | None:
        """Return on which of the UDP ports that are asked for the instance's processes have a socket."""
        ports = [int(port) for port in self.asked.get("udp") or ()]
        pids = self.pids()
        if not ports or not pids:
            return None  # without a process nobody can tell a closed port from one that is about to be opened
        from ._sockets import udp_ports

        found = udp_ports(pids)
        return {str(port): port in found for port in ports}

    def note_recent(self) -> None:
        """Add the sockets of this moment to those of the whole watch; ``new`` are those that its first one has not."""
        for shown in self.recent.values():
            shown["now"] = False
        now = time.monotonic()
        for row in self.sockets():
            if row.state != "LISTEN":
                shown = {**row.to_json(), "now": True}
                known = self.recent.get((shown["local"], shown["peer"]))
                shown["new"] = self._noted is not None if known is None else known["new"]
                shown["last"] = now
                shown["first"] = now if known is None else known["first"]
                self.recent[(shown["local"], shown["peer"])] = shown
        self._noted = now

    def note_gone(self, rows: t.Iterable[Row], ours: t.Container[int]) -> None:
        """Add sockets that came and went between two moments, as the kernel tells; nobody knows whose they were.

        Args:
            rows: the sockets that were destroyed.
            ours: the ports of our looks.
        """
        now = time.monotonic()
        for row in rows:
            shown = {**row.to_json(), "now": False, "new": True, "first": now, "last": now}
            if self._noted is not None and row.local[0] in self.addresses and row.local[1] not in ours:
                self.recent.setdefault((shown["local"], shown["peer"]), shown)

    def recent_rows(self) -> list[Json]:
        """Return the sockets that were noted, as observation shows them."""
        return [_lasting(self.recent[key], self._noted or 0.0) for key in sorted(self.recent)]

    def look_again(self) -> None:
        """Forget the processes, for one that is being reloaded may have others."""
        self._pids = None

    # Sessions

    def begin_sessions(self) -> None:
        """Start the command that lists the sessions, so that those of a host run side by side, and beside the look.

        The next ``sessions`` takes what it says.
        """
        asked = self.asked.get("sessions")
        if asked and not asked.get("file"):
            self._listing = _begun(asked)

    def sessions(self) -> list[Json] | None:
        """Return the sessions that the instance lists; None if it lists none.

        Raises:
            TlsError: its list cannot be had.
        """
        asked = self.asked.get("sessions")
        if not asked:
            return None
        begun, self._listing = self._listing, None
        sessions, bad = [], 0
        for line in (begun() if begun else _listed(asked)).splitlines():
            try:
                session = json.loads(line) if line.strip() else None
            except ValueError:
                session, bad = None, bad + 1
            if isinstance(session, dict):
                sessions.append(session)
        if bad:
            self.unreadable["sessions"] = "%d lines of the session list are not JSON" % bad
        return sessions

    def gather(self, sessions: t.Iterable[Json]) -> None:
        """Keep sessions that were listed in a look, for they may be over when the next one comes."""
        self._gathered.update((str(row["peer"]), row) for row in sessions if row.get("peer"))

    def _sessions_of_all_looks(self) -> list[Json] | None:
        """Return the sessions that are listed now, and those that were gathered and are not listed any more."""
        listed = self.sessions()
        if listed is None:
            return None
        now = {row.get("peer") for row in listed}
        over = [row for peer, row in sorted(self._gathered.items()) if peer not in now]
        return [*listed, *({**row, "ended": row.get("ended") or True, "gone": True} for row in over)]

    # Files

    def _try(self, what: str, look: t.Callable[[], _Seen]) -> _Seen | None:
        """Return what ``look`` sees, or None and note why it sees nothing."""
        try:
            return look()
        except (TlsError, OSError) as error:
            self.unreadable[what] = str(error)
        return None

    def _installed(self) -> Json:
        if not self.asked.get("folder"):
            return {}
        from ._installed import installed

        folder = str(self.asked["folder"])
        found = dict(installed(self.directory, folder))
        if self.asked.get("keys"):
            from ._born import held_keys

            found["keys"] = held_keys(os.path.join(self.directory, folder))
        return found

    def _adopted(self) -> Json:
        """Return what the certificates say that were there before us, by identity."""
        if not self.asked.get("adopted"):
            return {}
        from ._adopted import adopted

        rows = sorted(self.asked["adopted"].items())
        found = {name: self._try("adopted " + name, functools.partial(adopted, files)) for name, files in rows}
        return {name: row for name, row in found.items() if row is not None}

    def _refusals(self) -> Json:
        from ._way_back import refusals

        return dict(refusals(self.directory, str(self.asked["folder"]), self.asked["back"]))

    def _reads(self) -> Json:
        """Return the settings by id. One that has no value is None; one that cannot be read is left out and named."""
        texts: dict[str, str | TlsError] = {}
        found: Json = {}
        for row in self.asked.get("reads") or ():
            path = str(row["file"])
            if path not in texts:
                texts[path] = _text_of(path)
            try:
                found[str(row["id"])] = _setting(_or_nothing(texts[path], row), row)
            except TlsError as error:
                self.unreadable[str(row["id"])] = str(error)
        return found

    def _process(self) -> Json:
        pids = self.pids()
        names = list(self.asked.get("variables") or ())
        if not pids:
            return {"pids": [], "started": None, "user": None, "variables": dict.fromkeys(names)}
        return {
            "pids": pids,
            "started": self._try("started", lambda: started_at(pids[0])),
            "user": user_of(pids[0]),
            "variables": self._try("variables", lambda: variables_of(pids[0], names)) or {} if names else {},
        }

    def _environment(self) -> Json | None:
        spec, variables = self.asked.get("environment"), dict(self.asked.get("variables") or {})
        if not spec:
            return None
        from ._environment_file import environment_edit

        path, edit = environment_edit(str(self.asked["name"]), spec, variables)
        reason = edit.change.reason if edit.change else None
        return {"target": spec.get("target"), "path": path, "missing": list(edit.due), "reason": reason}


def _lasting(row: Json, noted: float) -> Json:
    """Return a noted socket with the seconds for which it was seen, and those since it was seen first."""
    shown = {name: value for name, value in row.items() if name not in ("first", "last")}
    return {**shown, "lasted": round(row["last"] - row["first"], 3), "ago": round(noted - row["first"], 3)}


def _text_of(path: str) -> str | TlsError:
    """Return a file's text, or why there is none; several settings share it."""
    try:
        text = read_text(path)
    except TlsError as error:
        return error
    return Missing("%s does not exist" % path) if text is None else text


def _or_nothing(text: str | TlsError, row: Asked) -> str | TlsError:
    """Return the text; that of a file which a step makes is empty before."""
    return "" if row.get("made") and isinstance(text, Missing) else text


def _setting(text: str | TlsError, row: Asked) -> str | None:
    if isinstance(text, TlsError):
        raise text
    from .._core._option_formats import read

    return read(text, str(row.get("format") or "ini"), str(row.get("section") or ""), str(row["key"]))


def _begun(asked: Asked) -> t.Callable[[], str]:
    """Have the list made by a thread, and return what waits for it."""
    import threading

    done: list[str] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            done.append(_listed(asked))
        except Exception as error:  # whoever waits for the list is told, whatever it is
            failed.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()

    def told() -> str:
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    return told


def _listed(asked: Asked) -> str:
    """Return the list of sessions as text."""
    if not asked.get("file"):
        return _output(asked)
    text = read_text(str(asked["file"]), limit=_SESSIONS_LIMIT)
    if text is None:
        raise RequestRefused("%s, where it lists its sessions, does not exist" % asked["file"])
    return text


def _output(asked: Asked) -> str:
    """Return what the command that lists sessions says."""
    import subprocess

    command = [str(part) for part in asked.get("command") or ()]
    if not command:
        raise RequestRefused("sessions are listed by a file or by a command")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SESSIONS_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RequestRefused("the command that lists sessions fails: %s" % error) from error
    return done.stdout[:_SESSIONS_LIMIT].decode("utf-8", "replace")
