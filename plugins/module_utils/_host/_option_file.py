# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of options: read once, planned option by option, written with one rename; private to this collection."""

from __future__ import annotations

import os
import typing as t

from .._core._option_plan import option_changes, settings_of
from .._core._options import edit
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
        settings = settings_of(rows, separator)
        self.edited = edit(text, form, settings).encode("utf-8", "surrogateescape")
        if path.startswith(ENTRY):
            from ._ldap_entry import canonical

            self.edited = canonical(self.edited)
        self.changes = [change for each in settings for change in option_changes(path, text, form, each)]

    def write(self) -> None:
        """Write all of it at once, with its folder where that is missing; mode, owner, access list and label stay."""
        if self._is_made:
            make_directory(os.path.dirname(self.path))
        write_durable(self.path, self.edited, mode=self._found.mode, owner=self._found.owner)
