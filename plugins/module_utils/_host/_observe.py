# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at one host: files, settings, processes, sockets, sessions and endpoints; private to this collection.

A call of a module costs about as much as a ping, so everything that a gate needs of a host comes from one. Nothing of
it is changed. What cannot be seen is named in ``unreadable`` and never guessed. Libraries that cost time are imported
where they are needed, for most looks at most hosts need none of them.
"""

from __future__ import annotations

import json
import time
import typing as t

from .._core._errors import TlsError
from ._environment_file import environment_edit, read_text
from ._process import pids_of, started_at, user_of, variables_of

if t.TYPE_CHECKING:
    from ._sockets import Row

_SESSIONS_LIMIT: t.Final = 8 << 20
_SESSIONS_SECONDS: t.Final = 10.0
#: A request never makes a host watch for longer than this.
_WATCH_LIMIT: t.Final = 3600.0

Json = t.Dict[str, t.Any]
Asked = t.Mapping[str, t.Any]
_Seen = t.TypeVar("_Seen")


class RequestRefused(TlsError):
    """A request asks for something that cannot be looked at."""


def observe(request: Asked) -> Json:
    """Return what a host shows.

    The processes' sockets are listed before anything is probed, and settled before that, so that no connection of our
    own is taken for one of theirs.

    Args:
        request: ``directory``, ``instances``, ``probes``, ``watch``, ``settle`` and ``token``, each of them optional;
            described in ``docs/looking.md``.

    Raises:
        RequestRefused: the request makes no sense.
        TlsError: a probe of it makes no sense.
    """
    unknown = sorted(set(request) - {"directory", "instances", "probes", "watch", "settle", "token"})
    if unknown:
        raise RequestRefused(
            "a request has no %r; it has directory, instances, probes, watch, settle, token" % unknown[0]
        )
    sights = {
        str(asked["name"]): Sight(asked, str(request.get("directory") or "/etc/connsec"))
        for asked in request.get("instances") or ()
    }
    probes = _parsed(request.get("probes") or ())
    addresses = {probe.source for probe in probes if probe.source}
    settled = _settle(request.get("settle") or (), sights)
    watched = _watch(request.get("watch") or {}, sights)
    seen: Json = {
        "clock": round(time.time(), 3),
        "instances": {name: sight.to_json(addresses) for name, sight in sights.items()},
        "probes": {},
        "watch": watched,
        "settled": settled,
        "source_ports": [],
    }
    if probes:
        from ._handshake import look

        seen["probes"] = look(probes)
        seen["source_ports"] = sorted({port for one in seen["probes"].values() for port in one["source_ports"]})
    if "token" in request:
        seen["token"] = request["token"]
    return seen


def _parsed(requests: t.Sequence[Asked]) -> list[t.Any]:
    if not requests:
        return []
    from ._handshake import parse_probe

    return [parse_probe(request) for request in requests]


class Sight:
    """An instance that is looked at, with what could not be seen of it."""

    def __init__(self, asked: Asked, directory: str) -> None:
        self.asked = asked
        self.directory = directory
        self.unreadable: dict[str, str] = {}
        self.recent: dict[tuple[str, str], Json] = {}
        self._pids: list[int] | None = None
        self._noted = False

    def pids(self) -> list[int]:
        """Return the instance's processes, found once."""
        if self._pids is None:
            self._pids = self._try("process", lambda: pids_of(self.asked.get("process"))) or []
        return self._pids

    def to_json(self, addresses: t.Collection[str]) -> Json:
        """Return what the instance shows."""
        seen: Json = dict(self._try("installed", self._installed) or {})
        reads = self._reads()
        seen.update(
            reads=reads,
            process=self._process(),
            environment=self._try("environment", self._environment),
            sessions=self._try("sessions", self._sessions),
            sockets=[row.to_json() for row in self.sockets(addresses)] if self.asked.get("sockets") else [],
            recent=[
                {name: value for name, value in self.recent[key].items() if name != "first"}
                for key in sorted(self.recent)
            ],
            unreadable=self.unreadable,
        )
        return seen

    def sockets(self, addresses: t.Collection[str]) -> list[Row]:
        """Return the sockets of the instance's processes."""
        pids = self.pids()
        if not pids:
            return []
        from ._sockets import own_sockets

        listening = {str(row["address"]) for row in self.asked.get("listeners") or () if row.get("address")}
        given = self.asked.get("addresses") or ()
        return self._try("sockets", lambda: own_sockets(pids, addresses={*addresses, *listening, *given})) or []

    def note_recent(self) -> None:
        """Add the sockets of this moment to those of the whole watch; ``new`` are those that its first one has not."""
        for shown in self.recent.values():
            shown["now"] = False
        for row in self.sockets(()):
            if row.state != "LISTEN":
                shown = {**row.to_json(), "now": True}
                known = self.recent.get((shown["local"], shown["peer"]))
                shown["new"] = self._noted if known is None else known["new"]
                shown["first"] = time.monotonic() if known is None else known["first"]
                self.recent[(shown["local"], shown["peer"])] = shown
        self._noted = True

    def look_again(self) -> None:
        """Forget the processes, for one that is being reloaded may have others."""
        self._pids = None

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

        return dict(installed(self.directory, str(self.asked["folder"])))

    def _reads(self) -> Json:
        """Return the settings by id. One that has no value is None; one that cannot be read is left out and named."""
        texts: dict[str, str | TlsError] = {}
        found: Json = {}
        for row in self.asked.get("reads") or ():
            path = str(row["file"])
            if path not in texts:
                texts[path] = _text_of(path)
            try:
                found[str(row["id"])] = _setting(texts[path], row)
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
        path, edit = environment_edit(str(self.asked["name"]), spec, variables)
        reason = edit.change.reason if edit.change else None
        return {"target": spec.get("target"), "path": path, "missing": list(edit.due), "reason": reason}

    def _sessions(self) -> list[Json] | None:
        asked = self.asked.get("sessions")
        if not asked:
            return None
        text = read_text(str(asked["file"]), limit=_SESSIONS_LIMIT) if asked.get("file") else _output(asked)
        sessions, bad = [], 0
        for line in (text or "").splitlines():
            try:
                session = json.loads(line) if line.strip() else None
            except ValueError:
                session, bad = None, bad + 1
            if isinstance(session, dict):
                sessions.append(session)
        if bad:
            self.unreadable["sessions"] = "%d lines of the session list are not JSON" % bad
        return sessions


def _text_of(path: str) -> str | TlsError:
    """Return a file's text, or why there is none; several settings share it."""
    try:
        text = read_text(path)
    except TlsError as error:
        return error
    return RequestRefused("%s does not exist" % path) if text is None else text


def _setting(text: str | TlsError, row: Asked) -> str | None:
    if isinstance(text, TlsError):
        raise text
    from .._core._options import read

    return read(text, str(row.get("format") or "ini"), str(row.get("section") or ""), str(row["key"]))


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


def _watch(asked: Asked, sights: t.Mapping[str, Sight]) -> Json:
    """Watch listeners and instances for as long as is asked."""
    if not asked:
        return {}
    from ._sockets import Watched, watch

    seconds, interval = float(asked.get("seconds") or 0.0), float(asked.get("interval") or 0.05)
    if not 0 <= seconds <= _WATCH_LIMIT or interval < 0.001:
        raise RequestRefused(
            "a watch of %r seconds every %r is not one; the limit is %d" % (seconds, interval, _WATCH_LIMIT)
        )
    listeners = [
        Watched(str(row["id"]), row.get("address") or None, int(row["port"])) for row in asked.get("listeners") or ()
    ]
    names = [str(name) for name in asked.get("instances") or ()]
    strange = sorted(set(names) - set(sights))
    if strange:
        raise RequestRefused("the sockets of %s are to be watched, but the request does not describe it" % strange[0])

    def note() -> None:
        for name in names:
            sights[name].note_recent()

    seen = watch(listeners, seconds=seconds, interval=interval, also=note)
    return {"listeners": seen, "sockets": {name: list(sights[name].recent.values()) for name in names}}


def _settle(rows: t.Sequence[Asked], sights: t.Mapping[str, Sight]) -> Json:
    """Wait until instances have the sockets that they should have, and none that they should not.

    Returns:
        for each instance whether that came about, and after how many seconds.
    """
    found: Json = {}
    started = time.monotonic()
    waiting = [row for row in rows if row.get("instance") in sights]
    while waiting:
        for row in list(waiting):
            name, passed = str(row["instance"]), time.monotonic() - started
            done = _is_settled(row, sights[name])
            if done or passed >= float(row.get("seconds") or 0):
                found[name] = {
                    "settled": done and found.get(name, {}).get("settled", True),
                    "seconds": round(passed, 2),
                }
                waiting.remove(row)
        if waiting:
            time.sleep(0.05)
    return found


def _is_settled(row: Asked, sight: Sight) -> bool:
    """Return whether an instance has a session that it should have, and has none now that it should not.

    With ``hold`` the session has to have lasted for so many seconds; without, one that came and went will do.
    """
    sight.look_again()
    sight.note_recent()
    hold = float(row.get("hold") or 0)
    begun = time.monotonic() - hold
    open_now = [shown for shown in sight.recent.values() if shown["state"] == "ESTABLISHED" and shown["now"]]
    used = {shown["peer"] for shown in open_now if shown["first"] <= begun}
    if not hold:
        used |= {shown["peer"] for shown in sight.recent.values() if shown["new"]}
    present = not row.get("present") or bool(used & set(row["present"]))
    return present and not {shown["peer"] for shown in open_now} & set(row.get("absent") or ())
