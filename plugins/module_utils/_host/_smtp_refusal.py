# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail servers that complete a handshake and refuse its client in SMTP; private to this collection.

Postfix checks what a client presented once the handshake is done, and says ``421 4.7.1 ... Error: No client certificate
presented`` or ``... not trusted`` before it is greeted (smtpd_starttls):
https://www.postfix.org/postconf.5.html#smtpd_tls_req_ccert.
"""

from __future__ import annotations

import contextlib
import re
import ssl

from ._dial import Deadline

_SECONDS = 2.0
_LIMIT = 4096


def refusal(secure: ssl.SSLSocket, deadline: Deadline) -> str | None:
    """Return in which words a mail server refuses what this connection's client presented; None if it does not.

    Args:
        secure: a connection whose handshake is done, of which the first byte may have been read.
        deadline: when to give up.
    """
    answer = b""
    with contextlib.suppress(OSError, ValueError):
        within = Deadline(min(_SECONDS, deadline.left()))
        within.arm(secure)
        secure.sendall(b"EHLO localhost\r\n")
        while b"\n" not in answer and len(answer) < _LIMIT:
            within.arm(secure)
            part = secure.recv(_LIMIT)
            if not part:
                break
            answer += part
    found = re.match(r"[45]?\d\d (.*certificate.*)", answer.decode("latin-1"), re.IGNORECASE)
    return found.group(1).strip() if found else None
