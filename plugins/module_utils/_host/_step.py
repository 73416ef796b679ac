# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step on its host: noted before the first edit, tested, applied, and taken back; private to this collection.

Nothing has to be remembered between two calls: the marker tells how far a step has come, and the snapshot what its
files held and what it meant to make of them. Every part may be killed at any point and done again.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from .._core._change import Change
from .._core._spec import StepSpec
from ._files import locked, make_own, remove, sweep, write_durable
from ._installed import LOADED, Json, linked
from ._kept import described
from ._marker import Marker, now, write_json
from ._option_file import OptionFile
from ._process import pids_of
from ._program import SETTLE_SECONDS, ProgramError, answers, apply, run, wait_for_retirement, wait_until
from ._reading import Found
from ._snapshot import Snapshot, step_folder
from ._way_back import Ahead, StepRefused, is_put_back, ways_back

State = t.Literal["begin", "finish", "whole", "reverse", "forget"]


class Step:
    """One step of one instance on this host."""

    def __init__(self, spec: StepSpec) -> None:
        """Take a step in.

        Raises:
            FilesError: its id cannot be the name of a folder.
        """
        self._spec = spec
        self._base = os.path.join(spec.directory, spec.folder)
        self._snapshot = Snapshot(step_folder(self._base, spec.id))
        self._marker = Marker(self._base, spec)
        #: A load takes up what is installed and edits nothing.
        self._files = [] if spec.stage == "load" else list(spec.files)

    def plan(self, state: State, *, ahead: Ahead | None = None) -> list[Change]:
        """Return what a part of the step would do, each with its reason; nothing where nothing is left to do.

        Args:
            state: the part.
            ahead: what is there once other steps are taken back, which go before it; a reverse is added to it.

        Raises:
            TlsError: it cannot be done, or not be taken back.
        """
        due = {
            "begin": lambda: not self.is_begun(),
            "finish": lambda: True,
            "whole": lambda: True,
            "reverse": lambda: self.is_reversible(ahead=ahead),
            "forget": self.is_kept,
        }
        if not due[state]():
            return []
        edits = [change for file in self._edits() for change in file.changes] if state == "whole" else []
        return [*edits, Change(self._spec.target, None, None, self._spec.reason)]

    def carry_out(self, state: State) -> None:
        """Do a part of the step, alone on this host.

        Raises:
            TlsError: it cannot be done, or not be taken back.
        """
        acts: t.Mapping[State, t.Callable[[], t.Any]] = {
            "begin": self.begin,
            "finish": self.finish,
            "whole": self.do,
            "reverse": self.reverse,
            "forget": self.forget,
        }
        with locked(self._spec.directory):
            acts[state]()

    def do(self) -> None:
        """Do all of it: begin, set the options that the step is given, and finish.

        Raises:
            TlsError: an option cannot be set, the test fails, or the process does not come up.
        """
        self.begin()
        for file in self._edits():
            if file.changes:
                self._snapshot.intend(file.path, file.edited)
                file.write()
        self.finish()

    def _edits(self) -> t.Iterator[OptionFile]:
        """Return the edits; each file is read when it is its turn, for the one before may be of the same file."""
        rows = self._spec.edits
        strange = sorted({str(row["path"]) for row in rows} - set(self._files))
        if strange:
            raise StepRefused("%s is to edit %s, which its kind does not declare" % (self._spec.id, strange[0]))
        makes = self._spec.makes
        return (
            OptionFile(str(row["path"]), str(row["format"]), row["options"], mode=makes.get(str(row["path"])))
            for row in rows
        )

    # Begin

    def is_begun(self) -> bool:
        """Return whether the step is noted, and what its files held is kept."""
        return (
            self._marker.stands("editing") and self._snapshot.covers(self._files) and not self._snapshot.is_finished()
        )

    def begin(self) -> bool:
        """Keep what the files hold and note the step; return whether anything was written.

        The snapshot of a try that was not finished stays: what it found is what the reverse goes back to. One of a step
        that was finished is brought up to date first, for others may have edited the files since. The marker comes
        after the snapshot, so that no edit is made before both are there.
        """
        if self.is_begun():
            return False
        make_own(self._base)
        snapshot = self._snapshot
        is_open = not snapshot.is_finished() and (self._marker.stands() or snapshot.is_renewed())
        if not (is_open and snapshot.covers(self._files)):
            snapshot.take(self._files, put_back=[path for path in self._files if self._is_put_back(path)])
        self._marker.note("editing")
        snapshot.reopen()
        return True

    # Finish

    def finish(self) -> None:
        """Test the configuration, have the process take it, wait until it has, and take the marker away.

        Raises:
            TlsError: the test fails (nothing was reloaded then), or the process does not come up with it.
        """
        make_own(self._base)
        if self._snapshot.exists():
            self._snapshot.finish()
        if not self._marker.stands():
            self._marker.note("editing")
        self._test()
        self._marker.note("reloading", ran=bool(self._marker.entry().get("ran")) or self._runs())
        self._take_effect(self._snapshot.changed() if self._snapshot.exists() else [])
        self._marker.clear()

    # Reverse

    def is_reversible(self, *, ahead: Ahead | None = None) -> bool:
        """Return whether there is anything to take back here: a snapshot, or a marker that a killed run left.

        Args:
            ahead: what is there once other steps are taken back, which go before it; this one is added.

        Raises:
            StepRefused: there is, and somebody changed the same lines since.
        """
        ways = self._ways_back(ahead=ahead)
        if ahead is not None:
            ahead.go_on(self._snapshot, ways)
        return self._snapshot.exists() or self._marker.stands()

    def reverse(self) -> bool:
        """Take the step's own change out of its files and have the process take that; return whether it was there.

        Raises:
            StepRefused: somebody changed the same lines since; nothing is touched then.
            TlsError: the test fails, or the process does not come up.
        """
        ways = self._ways_back()
        if not (self._snapshot.exists() or self._marker.stands()):
            return False
        to = {path: None if wanted is None else described(wanted) for path, wanted in ways.items()}
        self._marker.note("reversing", to={**self._put_back(), **to})
        for path in self._snapshot.paths():
            sweep(*os.path.split(path))  # what a killed try left beside a file that it had not changed yet
        changed = sorted({*self._snapshot.changed(), *ways})
        for path, wanted in ways.items():
            if wanted is None:
                remove(path)
            else:
                write_durable(path, wanted.data, mode=wanted.mode, owner=wanted.owner)
        for folder in reversed(self._snapshot.folders()):
            with contextlib.suppress(OSError):  # somebody else has put something there
                os.rmdir(folder)
        self._test()
        self._take_effect(changed)
        self._snapshot.forget()
        self._marker.clear()
        return True

    def _ways_back(self, *, ahead: Ahead | None = None) -> dict[str, Found | None]:
        spec = self._spec
        return ways_back(self._snapshot, spec.id, put_back=self._put_back(), ours=spec.own, ahead=ahead)

    def _is_put_back(self, path: str) -> bool:
        """Return whether a reverse that did not come to its end has put a file back, and nobody has edited it since."""
        return is_put_back(path, self._put_back())

    def _put_back(self) -> Json:
        """Return what a reverse was about to put back."""
        return self._marker.entry().get("to") or {}

    # Forget

    def is_kept(self) -> bool:
        """Return whether the step's snapshot is there, or the rest of it."""
        return self._snapshot.is_there()

    def forget(self) -> bool:
        """Take the snapshot away, for the step will not be taken back any more; return whether there was one."""
        return self._snapshot.retire()

    # What all of them do

    def _runs(self) -> bool:
        return bool(pids_of(self._spec.process))

    def _test(self) -> None:
        if self._spec.test and self._may_run():
            run([str(part) for part in self._spec.test], what="the configuration test")

    def _may_run(self) -> bool:
        """Return whether the process has what it cannot run without, where its kind names a file that steps make."""
        needs = self._spec.process.get("needs")
        return not needs or os.path.isfile(str(needs))

    def _take_effect(self, changed: t.Sequence[str]) -> None:
        """Have programs take what the step changed, and tell why where one does not.

        Raises:
            TlsError: the process does not come up with it.
        """
        began = time.time()
        try:
            self._have_it_taken(changed)
        except ProgramError as error:
            from ._causes import causes

            wanted = [(str(row["address"]), int(row["port"])) for row in self._spec.wait_for if row["open"]]
            ports = [port for address, port in wanted if not answers(address, port)]
            found = causes(self._spec.process, ports=ports, paths=self._read_by_it(), since=began)
            raise ProgramError("; ".join([str(error), *found])) from error

    def _read_by_it(self) -> list[str]:
        """Return the files of our folder that the edits of the step name."""
        current = re.compile(re.escape(os.path.join(self._base, "current")) + r"/[\w./-]*\w")
        rows = [option for edit in self._spec.edits for option in edit["options"]]
        return sorted({path for row in rows for path in current.findall(str(row.get("value")))})

    def _have_it_taken(self, changed: t.Sequence[str]) -> None:
        """Have programs take what the step changed: the process, and others that read files of their own.

        Others are told to use the process after that is there, and to leave it before that goes.
        """
        spec = self._spec
        # One that ran when it was given the step, and is gone, died of it; what somebody stopped is not ours to start.
        died = bool(self._marker.entry().get("ran")) and not self._runs()
        if spec.may_rest and not died and not self._runs():
            return
        others = [way for path, way in sorted(spec.effects.items()) if path in changed]
        is_own = not changed or any(path not in spec.effects for path in changed)
        before = pids_of(spec.process)[1:] if is_own and spec.workers == "replaced" else []
        if not self._may_run():
            _tell(others)
        if is_own:
            self._apply(died=died)
        if self._may_run():
            _tell(others)
        process = spec.process if self._may_run() else {}
        pids = wait_until(process, spec.wait_for, seconds=SETTLE_SECONDS + spec.interruption)
        wait_for_retirement(before, seconds=SETTLE_SECONDS + spec.interruption)
        if is_own:
            loaded: Json = {"generation": linked(self._base, "current"), "at": now(), "pids": pids}
            if spec.ledger:
                loaded["ledger"] = dict(spec.ledger)
            write_json(os.path.join(self._base, LOADED), loaded)

    def _apply(self, *, died: bool) -> None:
        """Have the process take its configuration; one that lives by a file of ours starts and ends with it."""
        spec = self._spec
        turns = bool(spec.process.get("needs")) and not (self._may_run() and self._runs())
        what = "restart" if spec.apply == "restart" or ((died or turns) and spec.restart) else "reload"
        apply((spec.restart if what == "restart" else spec.reload) or spec.restart or spec.reload, what=what)


def _tell(ways: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Have other programs take their configuration, each once."""
    for at, way in enumerate(ways):
        if way not in ways[:at]:
            apply(way, what="restart")
