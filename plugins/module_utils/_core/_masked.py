# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in option files kept out of messages and diffs, by the names that they go by; private to this collection."""

from __future__ import annotations

import re
import typing as t

MASK: t.Final = "********"

#: Names of options that hold a secret. ``key`` alone names a file nearly everywhere, and would hide what explains most.
_SECRET: t.Final = re.compile(
    r"(?i)passw|pass[_.-]?(word|phrase|code)|pass\b|pwd|secret|token|credential|api.?key|auth.?key"
)
#: Names that hold none, for all that they look like it: files, and where nginx passes requests on to.
_OPEN: t.Final = re.compile(r"(?i)(file|path|_dir|(fastcgi|grpc|memcached|proxy|scgi|uwsgi)_pass)$")
#: A name and what comes before its value, anywhere in a line, a comment or an address; a blank alone only at its start.
_NAMED: t.Final = re.compile(
    r"""(?P<name>[\w.-]+)(?:["']?\s*[=:>]|["']\s+value\s*=)\s*(?=\S)|^[\s#;!]*(?P<first>[\w.-]+)\s+(?=[^\s=:])"""
)


def is_secret(name: str) -> bool:
    """Return whether an option of this name holds a secret; one that names a file of secrets does not."""
    return bool(_SECRET.search(name)) and not _OPEN.search(name)


def masked_value(name: str, value: str) -> str:
    """Return the value of an option as a message may show it: without secrets that it names itself, as DSNs do."""
    return MASK if is_secret(name) else "\n".join(masked(line) for line in value.split("\n"))


def masked(line: str) -> str:
    """Return a line of an option file as a message may show it."""
    for found in _NAMED.finditer(line):
        if is_secret(found.group("name") or found.group("first")):
            return line[: found.end()] + MASK
    return line
