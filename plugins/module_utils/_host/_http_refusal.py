# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Web servers that complete a handshake and refuse its client in HTTP; private to this collection.

nginx's http module checks what a client presented when it has a request (ngx_http_process_request), and answers
``400 No required SSL certificate was sent`` or ``400 The SSL certificate error``; codes 495 and 496 are its own names
for these: https://nginx.org/en/docs/http/ngx_http_ssl_module.html#errors. A request for ``/`` tells.
"""

from __future__ import annotations

import contextlib
import re
import ssl

from ._dial import Deadline

#: Seconds that a web server may take for its answer; one that asks an application first has not refused.
_SECONDS = 2.0
_LIMIT = 4096


def refusal(secure: ssl.SSLSocket, deadline: Deadline, *, name: str) -> str | None:
    """Return in which words a web server refuses what this connection's client presented; None if it does not.

    Args:
        secure: a connection whose handshake is done.
        deadline: when to give up.
        name: the host to ask for.
    """
    host = "[%s]" % name if ":" in name else name
    answer = b""
    with contextlib.suppress(OSError, ValueError):
        within = Deadline(min(_SECONDS, deadline.left()))
        within.arm(secure)
        secure.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host.encode())
        while len(answer) < _LIMIT:
            within.arm(secure)
            part = secure.recv(_LIMIT)
            if not part:
                break
            answer += part
    status, _unused, text = answer.decode("latin-1").partition("\r\n")
    found = re.match(r"HTTP/1\.[01] (400|495|496)\b", status)
    says = re.search(r"[^<>]*certificate[^<>]*", text, re.IGNORECASE)
    return says.group().strip() if found and says else None
