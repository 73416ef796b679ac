# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small server for the tests of steps: it listens on what its configuration says and reads it anew on SIGHUP.

``component.py FOLDER`` runs it and ``component.py FOLDER --check`` tests its configuration. It writes down what it
loads, so that a test sees whether it was touched. Its options: ``port`` and ``tls_port`` of ``[listener]``, ``dies``
(on taking this configuration) and ``password``.
"""

from __future__ import annotations

import configparser
import os
import signal
import socket
import sys
import time
import typing as t


def configuration(folder: str) -> dict[str, str]:
    """Return the options; end with a complaint, that shows more than it should, where they make no sense."""
    reader = configparser.RawConfigParser()
    reader.read(os.path.join(folder, "router.ini"))
    found = dict(reader["listener"])
    for name in ("port", "tls_port"):
        if name in found and not found[name].isdigit():
            sys.exit("%s is no number\npassword = %s" % (name, found.get("password")))
    return found


def listen(listeners: dict[str, socket.socket], found: t.Mapping[str, str]) -> None:
    """Open the ports that are new and close those that are no longer wanted."""
    wanted = {found[name] for name in ("port", "tls_port") if name in found}
    for port in wanted - set(listeners):
        listeners[port] = socket.socket()
        listeners[port].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listeners[port].bind(("127.0.0.1", int(port)))
        listeners[port].listen(16)
    for port in set(listeners) - wanted:
        listeners.pop(port).close()


def serve(folder: str) -> None:
    """Run until killed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    listeners: dict[str, socket.socket] = {}
    while True:
        found = configuration(folder)
        if found.get("dies") == "yes":
            sys.exit("as it was told to")
        with open(os.path.join(folder, "loads"), "a") as loads:
            loads.write("%s\n" % sorted(found))
        listen(listeners, found)
        if not os.path.exists(os.path.join(folder, "pid")):
            with open(os.path.join(folder, "new"), "w") as file:
                file.write("%d\n" % os.getpid())
            os.rename(os.path.join(folder, "new"), os.path.join(folder, "pid"))
        signal.sigwait([signal.SIGHUP])
        time.sleep(float(found.get("delay", 0)))


if __name__ == "__main__":
    configuration(sys.argv[1]) if "--check" in sys.argv else serve(sys.argv[1])
