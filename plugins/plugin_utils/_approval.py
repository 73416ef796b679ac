# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan files on the controller: written for approval, and read to say what an approved one holds; private here."""

from __future__ import annotations

import os
import re
import typing as t

from ..module_utils._core._errors import TlsError
from ..module_utils._core._plan_file import Content, digest_of, plan_bytes, read_plan, refuse_other_plan
from ._folder import Batch, Folder, StoreError
from ._ledger import Ledger

_LARGEST: t.Final = 1 << 28


def file_of(digest: str) -> str:
    """Return the name of the file of a plan."""
    return "plan-%s.json" % digest[:12]


def write_plan(content: Content, directory: str) -> str:
    """Write a plan file into the reports' folder, where it is not there yet, and return its path.

    Raises:
        StoreError: the folder cannot be written.
    """
    data = plan_bytes(content)
    name = file_of(digest_of(data))
    folder = Folder(os.path.abspath(directory))
    folder.make()
    if folder.read(name, limit=_LARGEST) != data:
        batch = Batch()
        batch.add(folder, name, data)
        batch.publish()
    return os.path.join(folder.path, name)


def approved_digest(value: t.Any) -> str:
    """Return the digest that ``tls_approved_plan`` gives; empty if it gives none.

    Raises:
        TlsError: it is no digest.
    """
    text = "" if value is None else str(value).strip().lower()
    text = text.removeprefix("sha256:")
    if text and not re.fullmatch("[0-9a-f]{64}", text):
        raise TlsError(
            "tls_approved_plan is %r; it is the digest that connsec.tls.plan prints, 64 hexadecimal digits" % (value,)
        )
    return text


def refuse_unapproved(approved: str, content: Content, *, directory: str | None, ledger: Ledger) -> None:
    """Refuse a run whose plan is not the approved one, nor what is left of it after a run of it was cut off.

    Args:
        approved: the digest of the approved plan.
        content: what this run would do.
        directory: the reports' folder, where the approved plan's file should lie; None if none is named.
        ledger: knows whether a run of the approved plan has begun.

    Raises:
        TlsError: saying what differs.
    """
    digest = digest_of(plan_bytes(content))
    if digest == approved:
        return
    stem = "tls_approved_plan is %s and the plan of this run %s: " % (approved[:12], digest[:12])
    name = file_of(approved)
    if not directory:
        raise TlsError(stem + "set tls_report_directory to the folder that has %s, to be told what differs" % name)
    was = _read(directory, name, approved)
    if was is None:
        raise TlsError(stem + "%s has no %s with that digest to tell what differs" % (directory, name))
    try:
        refuse_other_plan(was, content, begun=ledger.has_begun(approved))
    except TlsError as error:
        raise TlsError(stem + str(error)) from error


def _read(directory: str, name: str, digest: str) -> Content | None:
    try:
        data = Folder(os.path.abspath(directory)).read(name, limit=_LARGEST)
    except StoreError:
        return None
    return read_plan(data) if data is not None and digest_of(data) == digest else None
