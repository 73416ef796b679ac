# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of options: read once, planned option by option, written with one rename; private to this collection."""

from __future__ import annotations

import os
import typing as t

from .._core._change import Change
from .._core._errors import TlsError
from .._core._masked import masked_value
from .._core._option_formats import read
from .._core._options import Setting, edit
from ._files import make_directory, write_durable
from ._reading import ENTRY, FilesError, Found, Owner, read_regular


class OptionFile:
    """A file with the options that it is to hold.

    Attributes:
        path: where it is.
        edited: what it is to hold.
        changes: a change for each option that it does not hold yet.
    """

    def __init__(
        self,
        path: str,
        form: str,
        rows: t.Sequence[t.Mapping[str, t.Any]],
        *,
        separator: str | None = None,
        mode: str | None = None,
    ) -> None:
        """Read the file and plan.

        Args:
            path: the file.
            form: one of ``FORMATS``.
            rows: ``section``, ``key``, ``value`` or ``state: absent``, and perhaps ``separator`` and ``like``, of each
                option.
            separator: what stands between name and value of new options; that of its neighbours if None.
            mode: with which it is made where it is missing; None if it must be there.

        Raises:
            TlsError: an option is given twice or not wholly, or the file cannot be read or hold it.
        """
        found = read_regular(path)
        self._is_made = found is None
        if found is None and mode is not None:
            found = Found(b"", int(mode, 8), Owner(os.geteuid(), os.getegid()))
        if found is None:
            raise FilesError("%s does not exist; options are set in a file that is there" % path)
        self.path, self._found = path, found
        text = found.data.decode("utf-8", "surrogateescape")
        settings = _wanted(rows, separator)
        self.edited = edit(text, form, settings).encode("utf-8", "surrogateescape")
        if path.startswith(ENTRY):
            from ._ldap_entry import canonical

            self.edited = canonical(self.edited)
        self.changes = [change for each in settings for change in _plan(path, text, form, each)]

    def write(self) -> None:
        """Write all of it at once, with its folder where that is missing; mode, owner, access list and label stay."""
        if self._is_made:
            make_directory(os.path.dirname(self.path))
        write_durable(self.path, self.edited, mode=self._found.mode, owner=self._found.owner)


def _wanted(rows: t.Sequence[t.Mapping[str, t.Any]], separator: str | None) -> list[Setting]:
    settings: dict[tuple[str, str], Setting] = {}
    for row in rows:
        key, value = str(row["key"]), row.get("value")
        place = (str(row.get("section") or ""), key)
        if (value is None) != (row.get("state") == "absent"):
            raise TlsError("option %s needs either a value or state: absent" % key)
        if place in settings:
            raise TlsError("option %s is given twice; give it once, as it is wanted" % key)
        settings[place] = Setting(*place, value, row.get("separator") or separator, row.get("like"))
    return list(settings.values())


def _plan(path: str, text: str, form: str, wanted: Setting) -> t.Iterator[Change]:
    found = read(text, form, wanted.section, wanted.key)
    if found == wanted.value:
        return
    before, after = (None if value is None else masked_value(wanted.key, value) for value in (found, wanted.value))
    target = " ".join([path, *(["[%s]" % wanted.section] if wanted.section else []), wanted.key])
    yield Change(target, before, after, "is %s, planned %s" % (_said(before), _said(after)))


def _said(value: str | None) -> str:
    return "not set" if value is None else "%r" % value
