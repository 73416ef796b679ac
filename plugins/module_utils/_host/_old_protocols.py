# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server still accepts versions before TLS 1.2, asked without a TLS library; private to this collection.

Libraries of today do not speak them any more (RFC 8996).
"""

from __future__ import annotations

import socket
import typing as t

from ._dial import Deadline, LookFailed, hang_up, receive
from ._hello import VERSIONS, answered, client_hello

if t.TYPE_CHECKING:
    from ._negotiate import Negotiation

_OLD: t.Final = ("TLSv1.1", "TLSv1")

Connect = t.Callable[[Deadline], socket.socket]
Answer = t.Literal["accepted", "refused", "unknown"]


def old_protocols(
    connect: Connect, negotiation: Negotiation | None, deadline: Deadline, *, place: str, name: str
) -> dict[str, Answer]:
    """Return for each protocol version before TLS 1.2 whether the endpoint accepts it.

    A server answers with the highest version that both have, so one question mostly answers for all.
    """
    answers: dict[str, Answer] = dict.fromkeys(_OLD, "unknown")
    for version in _OLD:
        if answers[version] != "unknown":
            continue
        try:
            sock = connect(deadline)
            try:
                if negotiation:
                    negotiation.ask(sock, deadline, place)
                kind, chosen = _greeted(sock, client_hello(version, name=_server_name(name)), deadline)
            finally:
                hang_up(sock)
        except socket.timeout:
            break
        except (OSError, LookFailed):
            kind, chosen = "alert", None  # closed or reset: refused without a word
        accepted = chosen if kind == "hello" and chosen in answers else None
        floor = VERSIONS[accepted] if accepted else 0
        answers.update({other: "refused" for other in _OLD if floor < VERSIONS[other] <= VERSIONS[version]})
        if accepted:
            answers[accepted] = "accepted"
    return answers


def _greeted(sock: socket.socket, hello: bytes, deadline: Deadline) -> tuple[str, str | None]:
    deadline.arm(sock)
    sock.sendall(hello)
    return answered(receive(sock, 11, deadline))


def _server_name(name: str) -> str | None:
    """Return the name if a hello may hold it: RFC 6066 allows no addresses."""
    return None if ":" in name or name.replace(".", "").isdigit() else name
