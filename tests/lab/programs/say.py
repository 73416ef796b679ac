# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application on a host of the lab that says the same words to a server for ever, and knows what has to come back.

It says them thirty times in a session of a second and a half, and then begins another one.

    say.py /etc/load/desk.ini

Its options are read anew each time: host, port, `say` (with `{port}`, and escapes as in Python), `hear`; once it uses
TLS `tls`, `trust`, perhaps `certificate` and `key`. It verifies chain and name, and counts in a JSON file beside them.
"""

from __future__ import annotations

import configparser
import json
import os
import socket
import ssl
import sys
import time
import typing as t

SECONDS: t.Final = 5.0
#: Requests of one session, and seconds between two of them.
REQUESTS: t.Final = 30
PAUSE: t.Final = 0.05

Options = t.Mapping[str, str]


def session(options: Options) -> t.Iterator[None]:
    """Say the words over a connection of its own, and yield for each answer that is as it should."""
    sock = socket.create_connection((options["host"], int(options["port"])), SECONDS)
    try:
        if options.get("tls") == "yes":
            context = ssl.create_default_context(cafile=options["trust"])
            if "certificate" in options:
                context.load_cert_chain(options["certificate"], options["key"])
            sock = context.wrap_socket(sock, server_hostname=options["host"])
        words = options["say"].replace("{port}", options["port"]).encode().decode("unicode_escape").encode()
        for _unused in range(REQUESTS):
            sock.sendall(words)
            answer = sock.recv(4096)
            if options["hear"].encode() not in answer:
                raise OSError("it answers %r" % answer[:80])
            yield
            time.sleep(PAUSE)
    finally:
        sock.close()


def work(file: str) -> t.NoReturn:
    """Say it for ever, and count."""
    counts = {"answered": 0, "lost": 0}
    faults: list[str] = []
    while True:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(file)
        try:
            for _answer in session(parser["server"]):
                counts["answered"] += 1
        except (OSError, ValueError) as error:
            counts["lost"] += 1
            faults = [*faults[-9:], str(error)]
        with open(file + ".new", "w") as output:
            json.dump({**counts, "faults": faults}, output)
        os.replace(file + ".new", file + ".json")
        time.sleep(PAUSE)


if __name__ == "__main__":
    work(sys.argv[1])
