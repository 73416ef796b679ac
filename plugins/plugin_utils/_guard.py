# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody else could have written or swapped a folder; private to this collection."""

from __future__ import annotations

import os
import stat

_WRITABLE_BY_OTHERS = 0o022


def why_not_ours(path: str, status: os.stat_result) -> str | None:
    """Return how others can change what is in a folder, as a sentence; None if they cannot.

    Args:
        path: of the folder, for the sentence.
        status: of the folder as it was opened.
    """
    if not _is_owner_safe(status):
        return "%s belongs to another account (uid %d); work as that one, or give the folder to this one" % (
            path,
            status.st_uid,
        )
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return "others may write to %s (mode %04o); make it 0700" % (path, stat.S_IMODE(status.st_mode))
    return None


def why_can_be_swapped(path: str) -> str | None:
    """Return how others can put another folder in the place of this one, as a sentence; None if they cannot.

    The folders above are looked at up to one that only root or we can write: whoever swaps that one owns what he puts
    there. In a sticky folder such as /tmp nobody moves what is another's, so the look goes on above it. A folder that
    is missing will be our own.
    """
    while (above := os.path.dirname(path)) != path:
        try:
            status = os.stat(above)
        except FileNotFoundError:
            return None
        why = why_not_ours(above, status)
        if why is None or not (_is_owner_safe(status) and status.st_mode & stat.S_ISVTX):
            return why
        path = above
    return None


def _is_owner_safe(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())
