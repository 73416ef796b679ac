# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step on its host: noted before the first edit, tested, applied, and taken back; private to this collection.

A marker stands from before the first edit until the process has taken the change. Whoever finds one knows that a step
is under way or that its reload is due; nothing else has to be remembered.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import typing as t

from .._core._errors import TlsError
from .._core._merge import Conflict, undo
from ._fault import point
from ._files import FilesError, Found, Owner, make_folder, read_file, sweep, sync_folder, write_file
from ._installed import LOADED, PENDING, Json, linked, read_json
from ._program import SETTLE_SECONDS, apply, run, wait_until

Spec = t.Mapping[str, t.Any]


class StepRefused(TlsError):
    """A step cannot be done, or not be taken back."""


class Step:
    """One step of one instance on this host."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._base = os.path.join(str(spec["directory"]), str(spec["folder"]))
        self._folder = os.path.join(self._base, "steps", str(spec["id"]))
        self._marker = os.path.join(self._base, PENDING)

    def begin(self) -> bool:
        """Note the step and keep what its files hold; return whether anything was written.

        The snapshot of a try that was not finished stays: what it found is what the reverse goes back to. One of a step
        that was finished is brought up to date, for others may have edited the files since.
        """
        resumed = self._noted_id() == self._spec["id"]
        noted = self._note("editing")
        if resumed and self._kept() is not None:
            return noted
        self._keep()
        return True

    def finish(self) -> None:
        """Test the configuration, have the process take it, wait until it has, and take the marker away.

        Raises:
            TlsError: the test fails (nothing was reloaded then), or the process does not come up with it.
        """
        self._record()
        self._note("reloading")
        self._take_effect()
        self._done()

    def reverse(self) -> bool:
        """Take the step's own change out of its files and have the process take that; return whether it was there.

        Raises:
            StepRefused: somebody changed the same lines since; nothing is touched then.
            TlsError: the process does not come up.
        """
        before = self._kept()
        if before is None:
            if self._noted_id() != self._spec["id"]:
                return False
            before = {}
        changes = [change for change in (self._way_back(path, row) for path, row in before.items()) if change]
        self._note("reversing")
        for path, data, found in changes:
            write_file(path, data, mode=found.mode, owner=found.owner, fault="step")
        self._take_effect()
        self._forget()
        self._done()
        return True

    def _note(self, phase: str) -> bool:
        found = read_json(self._marker)
        step = {name: self._spec[name] for name in ("id", "stage", "of", "pairs")}
        if found is not None and found.get("step") == step and found.get("phase") == phase:
            return False
        marker = {"step": step, "phase": phase, "at": round(time.time(), 3)}
        make_folder(self._base)
        point("step.marker.before")
        _write_json(self._marker, marker)
        point("step.marker.after")
        return True

    def _noted_id(self) -> str | None:
        marker = read_json(self._marker)
        return str((marker.get("step") or {}).get("id")) if marker else None

    def _keep(self) -> None:
        """Keep the files' content, mode and owner; the list of them is written last, and only it makes a snapshot."""
        contents = {}
        for path in self._files():
            found = read_file(path)
            if found is None:
                raise StepRefused("%s does not exist; the step would edit it: correct the setting that names it" % path)
            contents[path] = (found, self._without_ours(path, found.data))
        make_folder(os.path.join(self._base, "steps"), mode=0o700)
        self._forget()
        make_folder(self._folder, mode=0o700)
        make_folder(os.path.join(self._folder, "before"), mode=0o700)
        rows = {}
        for number, (path, (found, data)) in enumerate(contents.items()):
            name = "%d" % number
            write_file(os.path.join(self._folder, "before", name), data, mode=0o600)
            rows[path] = {"name": name, **_described(found)}
        point("step.snapshot.before")
        _write_json(os.path.join(self._folder, "before.json"), {"files": rows, "at": round(time.time(), 3)})
        point("step.snapshot.after")

    def _without_ours(self, path: str, data: bytes) -> bytes:
        """Return a file's content without what this step changed when it was done before, as far as that can be told."""
        row = (self._kept() or {}).get(path)
        if row is None or read_json(os.path.join(self._folder, "after.json")) is None:
            return data
        texts = [self._content(which, str(row["name"])) for which in ("before", "after")] + [data]
        try:
            text = undo(*(each.decode("utf-8", "surrogateescape") for each in texts))
        except Conflict:
            return data
        return text.encode("utf-8", "surrogateescape")

    def _kept(self) -> t.Dict[str, Json] | None:
        found = read_json(os.path.join(self._folder, "before.json"))
        return dict(found["files"]) if found else None

    def _record(self) -> None:
        """Keep what the files hold after the edit: the reverse has to know its own change from others'."""
        if self._kept() is None:
            return
        make_folder(os.path.join(self._folder, "after"), mode=0o700)
        rows = {}
        for number, path in enumerate(self._files()):
            found = read_file(path)
            if found is None:
                raise StepRefused("%s is gone since the step began" % path)
            write_file(os.path.join(self._folder, "after", "%d" % number), found.data, mode=0o600)
            rows[path] = {"name": "%d" % number, **_described(found)}
        _write_json(os.path.join(self._folder, "after.json"), {"files": rows})

    def _way_back(self, path: str, row: Json) -> t.Tuple[str, bytes, Found] | None:
        """Return what a file has to hold once our change is out of it; None if it holds that."""
        found = read_file(path)
        if found is None:
            raise StepRefused(
                "%s is gone since our step; put it back, or take its step out of %s" % (path, self._folder)
            )
        before = self._content("before", str(row["name"]))
        recorded = read_json(os.path.join(self._folder, "after.json"))
        after = self._content("after", str(row["name"])) if recorded else before
        if found.data == before:
            return None
        if recorded is None:
            # Killed between the edit and its record: nobody but us has had the time to edit.
            return path, before, found
        if found.data == after:
            owner = Owner(int(row["uid"]), int(row["gid"]))
            return path, before, Found(before, int(row["mode"], 8), owner)
        try:
            text = undo(*(data.decode("utf-8", "surrogateescape") for data in (before, after, found.data)))
        except Conflict as error:
            raise StepRefused("%s is not as our step left it, and cannot be taken back: %s" % (path, error)) from error
        return path, text.encode("utf-8", "surrogateescape"), found

    def _content(self, which: str, name: str) -> bytes:
        found = read_file(os.path.join(self._folder, which, name))
        if found is None:
            raise StepRefused("the snapshot %s is not complete" % self._folder)
        return found.data

    def _take_effect(self) -> None:
        spec = self._spec
        if spec.get("test"):
            run([str(part) for part in spec["test"]], what="the configuration test")
        what = str(spec.get("apply") or "reload")
        action = spec.get(what) or spec.get("restart" if what == "reload" else "reload") or {}
        point("step.apply.before")
        apply(action, what=what)
        point("step.apply.after")
        seconds = SETTLE_SECONDS + float(spec.get("interruption") or 0)
        pids = wait_until(spec.get("process") or {}, spec.get("wait_for") or (), seconds=seconds)
        generation = linked(self._base, "current")
        _write_json(
            os.path.join(self._base, LOADED), {"generation": generation, "at": round(time.time(), 3), "pids": pids}
        )

    def _forget(self) -> None:
        """Take the snapshot away; the list goes first, so that half of one never counts."""
        try:
            os.unlink(os.path.join(self._folder, "before.json"))
        except FileNotFoundError:
            pass
        shutil.rmtree(self._folder, ignore_errors=True)

    def _done(self) -> None:
        try:
            os.unlink(self._marker)
        except FileNotFoundError:
            return
        except OSError as error:
            raise FilesError("%s cannot be removed: %s" % (self._marker, error.strerror)) from error
        sync_folder(self._base)
        sweep(self._base)

    def _files(self) -> t.List[str]:
        return [str(path) for path in self._spec.get("files") or ()]


def _described(found: Found) -> Json:
    return {
        "sha256": hashlib.sha256(found.data).hexdigest(),
        "mode": "%04o" % found.mode,
        "uid": found.owner.uid,
        "gid": found.owner.gid,
    }


def _write_json(path: str, value: Json) -> None:
    write_file(path, (json.dumps(value, sort_keys=True) + "\n").encode(), mode=0o600)
