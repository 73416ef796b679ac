# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which options are wanted of a file, and which of them it does not hold; private to this collection."""

from __future__ import annotations

import typing as t

from ._change import Change
from ._errors import TlsError
from ._masked import masked_value
from ._option_formats import read
from ._options import Setting


def settings_of(rows: t.Sequence[t.Mapping[str, t.Any]], separator: str | None = None) -> list[Setting]:
    """Return the options that are wanted; ``separator`` stands in new ones that name none.

    Raises:
        TlsError: an option is given twice, or not wholly.
    """
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


def option_changes(path: str, text: str, form: str, wanted: Setting) -> t.Iterator[Change]:
    """Yield the change that brings an option of a file about, if it is not as wanted; secrets are masked."""
    found = read(text, form, wanted.section, wanted.key)
    if found == wanted.value:
        return
    before, after = (None if value is None else masked_value(wanted.key, value) for value in (found, wanted.value))
    target = " ".join([path, *(["[%s]" % wanted.section] if wanted.section else []), wanted.key])
    yield Change(target, before, after, "is %s, planned %s" % (_said(before), _said(after)))


def _said(value: str | None) -> str:
    return "not set" if value is None else "%r" % value
