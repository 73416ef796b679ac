# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that Solaris' SMF and AIX's SRC give to a service; private to this collection.

No process is touched: SMF has them in its configuration until a restart takes them over, and SRC until the next start.
"""

from __future__ import annotations

import os
import re
import typing as t

from .._core._change import Change
from .._core._environment import Edit, EnvironmentRefused, Wanted, plan_environment
from .._core._smf import NOTES, Definition, Note, ServicePlan, directly, plan_service, quoted, through
from .._core._unix import ToolUnread, parse_stanza, parse_words
from ._files import as_found, make_directory, write_durable
from ._program import run
from ._reading import read_text
from ._unix import said

_SVCCFG: t.Final = "/usr/sbin/svccfg"
_SVCPROP: t.Final = "/usr/bin/svcprop"


class Service:
    """The variables of one service, read and planned.

    Attributes:
        change: what is due; None if nothing is.
    """

    def __init__(self, wanted: Wanted, path: str, spec: t.Mapping[str, t.Any]) -> None:
        """Read and decide; ``path`` is the service instance for SMF, the file of variables for SRC.

        Raises:
            EnvironmentRefused: it cannot be given its variables.
            ToolUnread: its service manager cannot be asked.
        """
        self._way: _Smf | _Src = _Smf(wanted, path) if wanted.target.name == "smf" else _Src(wanted, path, spec)
        self.change = self._way.edit.change

    def make(self) -> None:
        """Tell the service manager."""
        self._way.make()


def service_edit(wanted: Wanted, path: str, spec: t.Mapping[str, t.Any]) -> Edit | None:
    """Return what is due of a service's variables; None if they stand in a file alone."""
    if wanted.target.name == "smf":
        return _Smf(wanted, path).edit
    return _Src(wanted, path, spec).edit if wanted.target.name == "src" else None


# SMF


class _Smf:
    """The variables of a service instance, as its configuration has them; its running snapshot may be an older one."""

    def __init__(self, wanted: Wanted, fmri: str) -> None:
        self._fmri = fmri
        said([_SVCPROP, "-c", "-p", "general/enabled", fmri])  # there is such an instance, or this says so
        self._group, self._scope, found = self._variables()
        notes = {name: note for name, note in self._notes() if len(note) > 1}
        self._plan: ServicePlan = plan_service(wanted, found=found, notes=notes)
        self._has_notes = bool(notes)
        self.edit = Edit(None, self._plan.change, self._plan.due)

    def _variables(self) -> tuple[str, tuple[str, ...], dict[str, str]]:
        """Return the property group that has the variables, how ``setenv`` finds it, and the variables.

        What a method has itself comes before what its instance or service has for all methods (smf_method), so a
        variable is set where the others stand.
        """
        for group in ("start", "method_context"):
            rows = self._property(group + "/environment")
            if rows is not None:
                scope: tuple[str, ...] = ("-m", "start")
                if group == "method_context":
                    own = said([_SVCCFG, "-s", self._fmri, "listprop", group + "/environment"]).strip()
                    scope = ("-i",) if own else ("-s",)
                return group, scope, dict(row.partition("=")[::2] for row in rows)
        return "start", ("-m", "start"), {}

    def _notes(self) -> t.Iterator[tuple[str, Note]]:
        try:
            text = said([_SVCPROP, "-c", "-p", NOTES, self._fmri])
        except ToolUnread:
            return  # there is no such group, or there are two of us, and what follows says so
        for line in text.splitlines():
            words = parse_words(line)
            if len(words) > 3:
                yield words[0].rpartition("/")[2], tuple(words[2:])

    def _property(self, name: str) -> list[str] | None:
        try:
            return parse_words(said([_SVCPROP, "-c", "-p", name, self._fmri]))
        except ToolUnread:
            return None

    def make(self) -> None:
        if not self._has_notes:
            listed = said([_SVCCFG, "-s", self._fmri, "listpg", NOTES]).split()
            if NOTES not in listed:
                self._tell("addpg", NOTES, "application")
        for each in self._plan.tells:
            if each.note is not None:  # before what it is about: a killed run leaves a note too many, and no secret one
                values = " ".join(quoted(word) for word in each.note)
                self._tell("setprop", "%s/%s" % (NOTES, each.name), "=", "astring:", "(%s)" % values)
            if each.value is None:
                self._tell("unsetenv", *self._scope, each.name)
            else:
                self._tell("setenv", *self._scope, each.name, quoted(each.value))
            if each.note is None:
                self._tell("delprop", "%s/%s" % (NOTES, each.name))

    def _tell(self, *words: str) -> None:
        run([_SVCCFG, "-s", self._fmri, *words], what="setting variables of %s" % self._fmri)


# SRC


class _Src:
    """The file of a subsystem's variables, and its definition, by which it is started through that file."""

    def __init__(self, wanted: Wanted, path: str, spec: t.Mapping[str, t.Any]) -> None:
        if not re.fullmatch(r"[A-Za-z0-9/._-]+", path):
            raise EnvironmentRefused(
                "%s: path is %r; for target src it has letters, digits and _ . -" % (wanted.owner, path)
            )
        self._name, self._path, self._text = str(spec["unit"]), path, read_text(path)
        self._found = self._definition()
        edit = plan_environment(wanted, found=self._text, elsewhere={})
        stays = bool(edit.text and edit.text.strip())
        self._wanted = (through if stays else directly)(path, self._found)
        change, due = edit.change, edit.due
        if change is None and self._wanted != self._found:
            due = tuple(sorted(wanted.variables))
            why = "subsystem %s is not started with %s" if stays else "subsystem %s is still started with %s"
            change = Change("environment %s" % wanted.owner, None, None, why % (self._name, path))
        self.edit = Edit(edit.text, change, due)

    def _definition(self) -> Definition:
        stanza = parse_stanza(said(["/usr/bin/odmget", "-q", "subsysname=%s" % self._name, "SRCsubsys"]))
        if "path" not in stanza:
            raise EnvironmentRefused("there is no subsystem %r" % self._name)
        return Definition(stanza["path"], stanza.get("cmdargs", ""))

    def make(self) -> None:
        """Write the file before a start may look for it, and take it away after no start does."""
        text = self.edit.text
        if text is not None and text != self._text:
            make_directory(os.path.dirname(self._path), mode=0o755)
            mode, owner = as_found(self._path)
            write_durable(self._path, text.encode("utf-8", "surrogateescape"), mode=mode, owner=owner)
        if self._wanted != self._found:
            words = ["-s", self._name, "-p", self._wanted.path, "-a", self._wanted.arguments]
            run(["/usr/bin/chssys", *words], what="changing how subsystem %s is started" % self._name)
        if text is None and self._text is not None:
            os.unlink(self._path)
