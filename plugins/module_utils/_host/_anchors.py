# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CA certificates as they are given to a host to be trusted, read with the standard library; private."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from .._core._anchor import Anchor, AnchorRefused, anchor_name, certificates_in, pem_of
from ._der import DerError, is_authority, read_certificate


@dataclass(frozen=True)
class Given:
    """What was given to be trusted.

    Attributes:
        names: every name that was given.
        anchors: the certificates, in the order in which they were given.
        warnings: what the user should know about them.
    """

    names: tuple[str, ...]
    anchors: tuple[Anchor, ...]
    warnings: tuple[str, ...]


def read_given(rows: t.Sequence[t.Mapping[str, t.Any]], *, state: str, now: float | None = None) -> Given:
    """Return what stands in the option ``certificates``; of names that are to go, no certificate.

    Raises:
        TlsError: a name may not be one, stands twice, or what it has cannot be trusted.
    """
    names = [anchor_name(row.get("name"), "certificates") for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise AnchorRefused("certificates has %s twice; give all of its certificates in one pem" % name)
    anchors, warnings = [], []
    for name, row in zip(names, rows) if state == "present" else ():
        for anchor, ends in _anchors(name, row.get("pem") or ""):
            anchors.append(anchor)
            if ends < (time.time() if now is None else now):
                warnings.append("%s (%s) has ended on %s: nobody accepts what it signed" % (name, *_about(anchor)))
    return Given(tuple(names), tuple(anchors), tuple(warnings))


def _about(anchor: Anchor) -> tuple[str, str]:
    return anchor.subject, anchor.until


def _anchors(name: str, pem: str) -> t.Iterator[tuple[Anchor, int]]:
    where = "certificates, %s" % name
    for der in certificates_in(pem, where):
        try:
            said = read_certificate(der)
            may_sign = is_authority(der)
        except (DerError, IndexError) as error:
            raise AnchorRefused("%s: %s" % (where, error)) from error
        if not may_sign:
            raise AnchorRefused(
                "%s: %s is no authority's certificate (no CA:TRUE), so that it could vouch for itself alone;"
                " give that of the authority which signed it" % (where, said.subject or said.sha256)
            )
        until = time.strftime("%Y-%m-%d", time.gmtime(said.not_after))
        yield Anchor(name, said.sha256, pem_of(der), said.subject, until), said.not_after
