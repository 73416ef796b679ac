# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server does with a client that it should turn away; private to this collection.

Gates ask it before they let a demand pass, on connections of their own.
"""

from __future__ import annotations

import socket
import ssl
import typing as t

from ._dial import Deadline, LookFailed
from ._failing import VERIFY_CLASSES, is_about_certificates
from ._probe import VERSIONS
from ._tls import BorrowedIdentity, Maximum, Stance, make_context

if t.TYPE_CHECKING:
    from ._handshake import Look

#: Yes, no, or nobody can tell.
Third = t.Union[bool, t.Literal["unknown"]]


def demanded(look: Look, seen: t.Mapping[str, t.Any], deadline: Deadline) -> Third:
    """Return whether a client without a certificate is turned away."""
    if seen["class"] == "certificate_required":
        return True
    if look.probe.certificate is None and seen["outcome"] == "tls" and seen["class"] not in VERIFY_CLASSES.values():
        return False  # it came in without one just now
    return _turns_away(lambda version: _admits(look, Stance(maximum=version), deadline))


def foreign(look: Look, deadline: Deadline) -> t.Literal["refused", "accepted", "unknown"]:
    """Return what becomes of a client with the certificate of a foreign authority."""
    certificate, key = look.probe.foreign or ("", "")

    def admits(version: Maximum) -> Third:
        with BorrowedIdentity(certificate, key) as path:
            try:
                context = make_context(Stance(certificate=path, maximum=version))
            except LookFailed:
                return "unknown"
        return _admits(look, context, deadline)

    turned_away = _turns_away(admits)
    return "unknown" if turned_away == "unknown" else "refused" if turned_away else "accepted"


def _turns_away(admits: t.Callable[[Maximum], Third]) -> Third:
    """Ask over TLS 1.2, where a refusal ends the handshake, and over TLS 1.3 where that is all a server has."""
    for version in VERSIONS:
        admitted = admits(version)
        if admitted != "unknown":
            return not admitted
    return "unknown"


def _admits(look: Look, stance: Stance | ssl.SSLContext, deadline: Deadline) -> Third:
    """Return whether the server lets a client with this stance in; "unknown" if it never asked who that is."""
    try:
        entry = look.enter(stance, deadline)
    except (OSError, LookFailed):
        return "unknown"
    if entry.error is None:
        return True
    asked = entry.requested if entry.requested is not None else is_about_certificates(entry)
    return False if asked and not isinstance(entry.error, socket.timeout) else "unknown"
