# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""A step on a Windows host: what is due of it, and the orders that bring it about; private to this collection.

It leaves on the host what it leaves on others (``_host/_step.py``), so that the next run finds one that was cut off::

    pending.json                                    the steps that are under way
    loaded.json                                     the generation that the process was last seen to load
    steps\<id>\{before,intended,after}.json         what its files held, were about to hold, and were left with

Texts of files stand in those of ``steps``, which nobody but administrators and the system may read. A file is written
only if it is still what was read, so what somebody else writes meanwhile is never lost.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t
from dataclasses import dataclass, field

from ._change import Change
from ._errors import TlsError
from ._merge import Conflict, undo
from ._option_plan import option_changes, settings_of
from ._options import edit
from ._sddl import rights_of_folder
from ._spec import StepSpec

Json = t.Dict[str, t.Any]
Asked = t.Mapping[str, t.Any]
Order = t.Dict[str, t.Any]
State = t.Literal["begin", "finish", "whole", "reverse", "forget"]

_ID: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,200}")
#: Milliseconds for a configuration test, and until a process and its ports are there.
_TEST: t.Final = 120_000
_SETTLE: t.Final = 10_000


class StepRefused(TlsError):
    """A step cannot be done, or not be taken back."""


@dataclass(frozen=True)
class Kept:
    """What is noted of a step; ``there`` is whether it has a folder, which a killed run may have left empty."""

    before: Json | None = None
    intended: Json | None = None
    after: Json | None = None
    there: bool = False

    @property
    def files(self) -> dict[str, str | None]:
        """What files held before it, by path; None for one that was not there."""
        return dict((self.before or {}).get("files") or {})

    @property
    def is_finished(self) -> bool:
        """Whether what it left is noted as well."""
        return self.after is not None and self.before is not None and self.after.get("of") == self.before.get("at")

    @property
    def left(self) -> dict[str, str | None]:
        """What it left in files."""
        return dict((self.after or {}).get("files") or {})

    def meant(self, path: str) -> str | None:
        """Return what an edit of it was about to make of a file."""
        meant = self.intended or {}
        text: str | None = (meant.get("files") or {}).get(path)
        return text if self.before is not None and meant.get("of") == self.before.get("at") else None


@dataclass(frozen=True)
class Seen:
    """What the host showed of an instance.

    Attributes:
        clock: the host's, in seconds since 1970.
        files: texts by path; None for one that is not there.
        pending: the steps that are under way, by id.
        kept: what is noted of steps, by id.
        generation: the one that is installed.
        runs: whether the service runs.
        has_top, has_base: whether the host's folder of ours, and the instance's in it, are there.
    """

    clock: float
    files: t.Mapping[str, str | None]
    pending: Json = field(default_factory=dict)
    kept: t.Mapping[str, Kept] = field(default_factory=dict)
    generation: str | None = None
    runs: bool = False
    has_top: bool = True
    has_base: bool = True


def text_of(data: bytes) -> str:
    """Return what a file holds as text from which the same bytes come."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """Return the bytes of such a text."""
    return text.encode("utf-8", "surrogateescape")


def digest_of(text: str | None) -> str:
    """Return by what a file's content is known; nothing where there is no file."""
    return "" if text is None else hashlib.sha256(bytes_of(text)).hexdigest()


class Step:
    """One step of one instance."""

    def __init__(self, spec: StepSpec, seen: Seen, *, command_line: t.Callable[[t.Sequence[str]], str]) -> None:
        """Take a step in, and what the host showed.

        Args:
            spec: the step.
            seen: of its instance.
            command_line: writes arguments as programs of Windows read them.

        Raises:
            StepRefused: what is noted of it does not fit.
        """
        self._spec, self._seen, self._command_line = spec, seen, command_line
        self._base = "%s\\%s" % (spec.directory, spec.folder)
        self._folder = "%s\\steps\\%s" % (self._base, spec.id)
        self._kept = seen.kept.get(spec.id, Kept())
        found = seen.pending.get(spec.id)
        self._entry: Json = found if isinstance(found, dict) else {}
        strange = sorted(set(self._kept.files) - set(seen.files))
        if strange:
            raise StepRefused("%s kept %s, which its kind does not declare any more" % (spec.id, strange[0]))
        self._paths = [] if spec.stage == "load" else [str(path) for path in spec.files]

    # Plan

    def plan(self) -> list[Change]:
        """Return what the part that is asked for would do, each with its reason; nothing where nothing is left to do.

        Raises:
            TlsError: it cannot be done, or not be taken back.
        """
        state = self._spec.state
        if state == "reverse":
            self._ways_back()
        due = {
            "begin": not self._is_begun(),
            "finish": True,
            "whole": True,
            "reverse": self._kept.there or bool(self._entry),
            "forget": self._kept.there,
        }
        if not due[state]:
            return []
        edits = self._edited()[1] if state == "whole" else []
        return [*edits, Change(self._spec.target, None, None, self._spec.reason)]

    def orders(self) -> list[Order]:
        """Return the orders for that part.

        Raises:
            TlsError: it cannot be done, or not be taken back.
        """
        acts: t.Mapping[str, t.Callable[[], list[Order]]] = {
            "begin": self._begin,
            "finish": lambda: self._finish(dict(self._seen.files), self._kept),
            "whole": self._whole,
            "reverse": self._reverse,
            "forget": lambda: [self._order("remove", path=self._folder)],
        }
        return acts[self._spec.state]()

    def _order(self, action: str, **given: t.Any) -> Order:
        return {"step": self._spec.target, "action": action, **given}

    def _write(self, path: str, value: Json) -> Order:
        text = json.dumps(value, sort_keys=True) + "\n"
        return self._order("write", path=path, content=base64.b64encode(text.encode()).decode())

    # Begin

    def _is_begun(self) -> bool:
        stands = self._entry.get("phase") == "editing"
        return stands and set(self._paths) <= set(self._kept.files) and not self._kept.is_finished

    def _snapshot(self) -> Kept:
        """Return what is noted before the first edit.

        What a try that was not finished found stays, for the reverse goes back to it. What a finished one left is taken
        out first, for others may have edited since.
        """
        kept = self._kept
        if kept.before is not None and set(self._paths) <= set(kept.files) and not kept.is_finished and self._entry:
            return Kept(kept.before, kept.intended)
        files = {path: self._without_ours(path) for path in self._paths}
        return Kept({"files": files, "at": self._seen.clock})

    def _without_ours(self, path: str) -> str | None:
        """Return a file without what this very step left there when it was done before."""
        found, kept = self._seen.files[path], self._kept
        if found is None or not kept.is_finished or path not in kept.files:
            return found
        before, after = kept.files[path], kept.left.get(path)
        if after is None:
            return found
        left = undo(before or "", after, found, ours_wins=True)
        return None if before is None and not left else left

    def _begin(self) -> list[Order]:
        """Return what keeps the files and notes the step; the note comes last, so that no edit is before both."""
        if self._is_begun():
            return []
        kept, orders = self._snapshot(), self._folders()
        if self._paths:
            orders.append(self._order("folder", path=self._base + "\\steps", rights=rights_of_folder(None)))
            orders.append(self._order("folder", path=self._folder))
            if kept.before != self._kept.before:
                orders.append(self._write(self._folder + "\\before.json", kept.before or {}))
        orders.append(self._note("editing"))
        if self._kept.after is not None:
            orders.append(self._order("remove", path=self._folder + "\\after.json"))
        return orders

    def _folders(self) -> list[Order]:
        missing = [] if self._seen.has_top else [self._spec.directory]
        missing += [] if self._seen.has_base else [self._base]
        return [self._order("folder", path=path, rights=rights_of_folder(None)) for path in missing]

    def _note(self, phase: str, **more: t.Any) -> Order:
        spec = self._spec
        step = {"id": spec.id, "stage": spec.stage, "of": list(spec.of), "pairs": list(spec.pairs)}
        at, ran = self._seen.clock, self._entry.get("ran")
        self._entry = {"step": step, "phase": phase, "at": at, "ran": ran, **more}
        return self._write(self._base + "\\pending.json", {**self._seen.pending, spec.id: self._entry})

    def _cleared(self) -> Order:
        others = {name: row for name, row in self._seen.pending.items() if name != self._spec.id}
        path = self._base + "\\pending.json"
        return self._write(path, others) if others else self._order("remove", path=path)

    # Edit

    def _edited(self) -> tuple[dict[str, str], list[Change]]:
        """Return what the options make of the files, and a change for each option.

        Raises:
            TlsError: a file is not there, or cannot hold an option.
        """
        texts: dict[str, str] = {}
        changes: list[Change] = []
        for row in self._spec.edits:
            path, form = str(row["path"]), str(row["format"])
            if path not in self._paths:
                raise StepRefused("%s is to edit %s, which its kind does not declare" % (self._spec.id, path))
            text = texts.get(path, self._seen.files[path])
            if text is None and path not in self._spec.makes:
                raise StepRefused("%s does not exist; options are set in a file that is there" % path)
            settings = settings_of(row["options"])
            changes += [change for each in settings for change in option_changes(path, text or "", form, each)]
            texts[path] = edit(text or "", form, settings)
        return {path: text for path, text in texts.items() if text != self._seen.files[path]}, changes

    def _whole(self) -> list[Order]:
        edited, _changes = self._edited()
        kept = self._kept if self._is_begun() else self._snapshot()
        orders = self._begin()
        if edited:
            before = kept.before or {}
            meant = {path: kept.meant(path) for path in kept.files if kept.meant(path) is not None}
            intended = {"files": {**meant, **edited}, "of": before.get("at")}
            orders.append(self._write(self._folder + "\\intended.json", intended))
        orders += [self._edit(path, self._seen.files[path], text) for path, text in sorted(edited.items())]
        return orders + self._finish({**self._seen.files, **edited}, kept)

    def _edit(self, path: str, found: str | None, wanted: str) -> Order:
        content = base64.b64encode(bytes_of(wanted)).decode()
        return self._order("edit", path=path, expected=digest_of(found), content=content)

    # Finish

    def _finish(self, texts: t.Mapping[str, str | None], kept: Kept) -> list[Order]:
        """Return what tests the configuration, has the process take it, waits for that, and takes the note away."""
        orders = []
        if kept.before is not None:
            left = {path: texts[path] for path in kept.files}
            orders.append(self._write(self._folder + "\\after.json", {"files": left, "of": kept.before.get("at")}))
        if not self._entry:
            orders += [*self._folders(), self._note("editing")]
        orders += self._test()
        orders.append(self._note("reloading", ran=bool(self._entry.get("ran")) or self._seen.runs))
        return [*orders, *self._take_effect(), self._cleared()]

    def _test(self) -> list[Order]:
        if not self._spec.test:
            return []
        return [self._run(self._spec.test)]

    def _run(self, command: t.Sequence[t.Any]) -> Order:
        words = [str(word) for word in command]
        return self._order("run", path=words[0], arguments=self._command_line(words[1:]), milliseconds=_TEST)

    def _take_effect(self) -> list[Order]:
        """Return what has the process take its configuration; one that somebody stopped is not ours to start."""
        spec = self._spec
        died = bool(self._entry.get("ran")) and not self._seen.runs
        if spec.may_rest and not died and not self._seen.runs:
            return []
        action = spec.restart or spec.reload if spec.apply == "restart" or died else spec.reload or spec.restart
        orders = [self._run(action["command"])] if action.get("command") else []
        if action.get("service"):
            orders.append(self._order("restart", service=str(action["service"])))
        ports = [
            {"address": row["address"], "port": row["port"], "open": row["open"], "insist": row.get("insist", True)}
            for row in spec.wait_for
        ]
        return [*orders, self._wait(ports)]

    def _wait(self, ports: list[Json]) -> Order:
        """Return the order to wait, and to note then what the process has loaded, since when and which one it is."""
        ledger = dict(self._spec.ledger)
        rest: Json = {"generation": self._seen.generation, **({"ledger": ledger} if ledger else {})}
        text = '{"at": @at@e-3, "pids": [@process@], %s\n' % json.dumps(rest, sort_keys=True)[1:]
        return self._order(
            "wait",
            service=str(self._spec.process["service"]),
            ports=ports,
            milliseconds=_SETTLE + int(self._spec.interruption * 1000),
            path=self._base + "\\loaded.json",
            content=base64.b64encode(text.encode()).decode(),
        )

    # Reverse

    def _ways_back(self) -> dict[str, str | None]:
        """Return what each file that differs has to hold without the step; None for one that goes away.

        Raises:
            StepRefused: somebody changed the same lines since.
        """
        put_back = self._entry.get("to") or {}
        ways = {}
        for path in self._kept.files:
            current = self._seen.files[path]
            if path in put_back and put_back[path] == digest_of(current):
                continue
            try:
                wanted = self._way_back(path, current)
            except Conflict as error:
                raise StepRefused(
                    "%s cannot be taken back, for %s is not as it left it: %s" % (self._spec.id, path, error)
                ) from error
            if wanted != current:
                ways[path] = wanted
        return ways

    def _way_back(self, path: str, current: str | None) -> str | None:
        kept = self._kept
        before = kept.files[path]
        if not kept.is_finished and self._spec.own:
            return before
        after = kept.left.get(path) if kept.is_finished else kept.meant(path)
        if current == before or (kept.is_finished and before == after):
            return current
        if after is not None and current is not None:
            wanted = undo(before or "", after, current)
            if before is None and wanted:
                raise Conflict("others wrote into it since, and it was not there before the step; take that out first")
            return None if before is None else wanted
        if kept.is_finished and current == after:
            return before
        what = "made or removed since the step" if kept.is_finished else "edited while the step was under way"
        raise Conflict("it was %s; give it back what it held, which lies in %s\\before.json" % (what, self._folder))

    def _reverse(self) -> list[Order]:
        """Return what takes the step's own change out of its files, and has the process take that."""
        ways = self._ways_back()
        away = [self._order("remove", path=self._folder)] if self._kept.there else []
        if self._kept.before is None and not self._entry:
            return away
        to = {path: digest_of(wanted) for path, wanted in ways.items()}
        orders = [self._note("reversing", to={**(self._entry.get("to") or {}), **to})]
        for path, wanted in sorted(ways.items()):
            found = self._seen.files[path]
            if wanted is None:
                orders.append(self._order("erase", path=path, expected=digest_of(found)))
            else:
                orders.append(self._edit(path, found, wanted))
        return [*orders, *self._test(), *self._take_effect(), *away, self._cleared()]


def refuse_unbuilt(spec: StepSpec) -> None:
    """Refuse what is not done on Windows.

    Raises:
        StepRefused: the step asks for it.
    """
    if not _ID.fullmatch(spec.id):
        raise StepRefused("%r cannot be the id of a step; it is a word such as permit-default" % spec.id)
    if not spec.process.get("service"):
        raise StepRefused("%s: on Windows a process is found by its service" % spec.instance)
    if spec.process.get("needs") or spec.process.get("besides"):
        raise StepRefused("%s: a process that needs files, or has others beside it, is not built for Windows" % spec.id)
    if spec.effects:
        raise StepRefused("%s: programs beside the process are not told on Windows yet" % spec.id)
    for what, action in (("reload", spec.reload), ("restart", spec.restart)):
        if action.get("signal"):
            raise StepRefused(
                "%s: there are no signals on Windows; let %s name a service or a command" % (spec.id, what)
            )
