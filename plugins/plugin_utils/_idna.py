# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""International names become A-labels (IDNA 2008), unless they imitate others; private to this collection."""

from __future__ import annotations

import typing as t
import unicodedata

from ..module_utils._core._names import NameRefused, dns_name, shown

try:
    import idna
except ImportError:  # only a fleet with international names needs it
    idna = None  # type: ignore[assignment]

#: Scripts that one label may mix: Unicode TR 39, level "highly restrictive".
TOGETHER: t.Final = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)


def to_a_label(value: str, where: str) -> str:
    """Return a DNS name whose international labels are A-labels; NFC and NFD spellings give the same.

    Raises:
        NameRefused: it is not a name by IDNA 2008, or a label mixes scripts or digits, as names that imitate others do.
    """
    text = unicodedata.normalize("NFC", value)
    if text.isascii() and "xn--" not in text.lower():
        return dns_name(text, where)
    if idna is None:
        raise NameRefused(
            "%s: %s is an international name; install Python's idna on the controller, or write its A-label"
            % (where, shown(value))
        )
    if text.endswith("."):
        raise NameRefused("%s: %s ends with a dot; leave the dot out" % (where, shown(value)))
    try:
        name = idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
        readable = idna.decode(name)
    except (idna.IDNAError, UnicodeError) as error:
        raise NameRefused("%s: %s is not an international DNS name: %s" % (where, shown(value), error)) from error
    for label in readable.split("."):
        _refuse_mixed_scripts(label, value, where)
        _refuse_mixed_digits(label, value, where)
    return dns_name(name, where)


def _refuse_mixed_scripts(label: str, value: str, where: str) -> None:
    scripts = {script for script in map(_script, label) if script}
    if len(scripts) > 1 and not any(scripts <= allowed for allowed in TOGETHER):
        found = " and ".join(sorted(script.title() for script in scripts))
        raise NameRefused("%s: %s mixes %s letters in one label" % (where, shown(value), found))


def _refuse_mixed_digits(label: str, value: str, where: str) -> None:
    """Refuse digits of two systems in one label (Unicode TR 39, 5.3): some look like another digit of the other."""
    zeros = {ord(letter) - unicodedata.decimal(letter) for letter in label if unicodedata.category(letter) == "Nd"}
    if len(zeros) > 1:
        found = " and ".join(sorted(unicodedata.name(chr(zero)).title() for zero in zeros))
        raise NameRefused("%s: %s mixes digits of several systems in one label: %s" % (where, shown(value), found))


def _script(letter: str) -> str | None:
    """Return a letter's script by its Unicode name; None for digits, hyphens and marks, which belong to any."""
    if unicodedata.category(letter)[0] != "L":
        return None
    return unicodedata.name(letter, "UNKNOWN").split()[0]
