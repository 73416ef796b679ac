# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from elsewhere, made harmless for a terminal and a page; private to this collection."""

from __future__ import annotations

import re
import typing as t

#: Control characters but newline and tab, and those that turn the direction of text: both can show what is not there.
HIDDEN: t.Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def visible(text: str) -> str:
    """Return the text with a visible sign in the place of each character that would steer its reader's screen."""
    return HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
