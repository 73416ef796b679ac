# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application on a host of the lab: it works with a server, by the server's own client, as its option file says.

    load.py redis /etc/load/cache.ini

It runs one client after the other, each for a second and a half in one session, and counts in a JSON file beside its
options how many requests were answered and how many were lost. Options are read anew each time.
"""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import time
import typing as t

Options = t.Mapping[str, str]

#: Requests of one session, and seconds between two of them.
REQUESTS: t.Final = 30
PAUSE: t.Final = 0.05


def redis(options: Options) -> list[str]:
    """Return the command of redis-cli; the password is in the environment."""
    secure = ["--tls", "--cacert", options["trust"]] if options.get("tls") == "yes" else []
    shown = ["--cert", options["certificate"], "--key", options["key"]] if options.get("key") else []
    return [
        *("redis-cli", "-e", "-h", options["host"], "-p", options["port"], *secure, *shown),
        *("-r", str(REQUESTS), "-i", str(PAUSE), *options["ask"].split()),
    ]


def postgresql(options: Options) -> list[str]:
    """Return the command of psql, which waits itself; how it connects stands in its service file."""
    asked = ["-c", options["ask"], "-c", "select pg_sleep(%s)" % PAUSE]
    return ["psql", "-XAtq", *asked * REQUESTS, "service=" + options["service"]]


def mariadb(options: Options) -> list[str]:
    """Return the command of mariadb, whose own options stand in the same file."""
    asked = "%s; do sleep(%s);" % (options["ask"], PAUSE)
    return ["mariadb", "--defaults-file=" + options["file"], "-nNBe", asked * REQUESTS]


_AMQP: t.Final = """\
url=$1 count=$2 pause=$3; shift 3
# what follows -- is a command for each message; options behind it would be taken for those of amqp-consume
timeout 10 amqp-consume --url "$url" "$@" -q asked -c $count -A -- cat & consumer=$!
messages() { for each in $(seq $count); do echo $each; sleep $pause; done; }
messages | amqp-publish --url "$url" "$@" -r asked -l || kill $consumer
wait $consumer
"""


def amqp(options: Options) -> list[str]:
    """Return the command that publishes messages and consumes them; the password is in the address."""
    secure = options.get("tls") == "yes"
    shown = ["--cert", options["certificate"], "--key", options["key"]] if options.get("key") else []
    url = "%s://%s@%s:%s" % ("amqps" if secure else "amqp", options["login"], options["host"], options["port"])
    trust = ["--cacert", options["trust"]] if secure else []
    return ["bash", "-c", _AMQP, "amqp", url, str(REQUESTS), str(PAUSE), *trust, *shown]


#: By client: its command, and what a line that answers a request looks like.
CLIENTS: t.Final[t.Mapping[str, tuple[t.Callable[[Options], list[str]], t.Callable[[str], bool]]]] = {
    "amqp": (amqp, str.isdigit),
    "mariadb": (mariadb, lambda line: line == "1"),
    "postgresql": (postgresql, lambda line: line == "1"),
    "redis": (redis, str.isdigit),
}
#: Clients that go on with the next request after one that was lost; others end with it.
GOES_ON: t.Final = ("redis",)


def work(client: str, file: str) -> t.NoReturn:
    """Work for ever, and count."""
    command, answers = CLIENTS[client]
    counts = {"answered": 0, "lost": 0}
    faults: list[str] = []
    while True:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(file)
        options = {**parser["server"], "file": file}
        done = subprocess.run(command(options), capture_output=True, text=True, check=False)
        answered = sum(map(answers, done.stdout.split("\n")))
        counts["answered"] += answered
        if answered != REQUESTS:
            counts["lost"] += REQUESTS - answered if client in GOES_ON else 1
            faults = [*faults[-9:], (done.stdout + done.stderr)[-300:]]
            time.sleep(PAUSE)
        with open(file + ".new", "w") as output:
            json.dump({**counts, "faults": faults}, output)
        os.replace(file + ".new", file + ".json")


if __name__ == "__main__":
    work(*sys.argv[1:])
