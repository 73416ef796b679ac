# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program on a host of the lab that publishes numbers by mosquitto_pub, as the option file of that says.

    publish.py /etc/desk

One mosquitto_pub after the other publishes thirty numbers within a second and a half, and reads its options anew. What
a session could not hand over is published again by the next one: by itself mosquitto_pub would dial for ever where its
broker has moved away from meanwhile. `published.json` in the folder counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t

NUMBERS: t.Final = 30
PAUSE: t.Final = 0.05
#: Seconds in which a session has to have handed its numbers over, once it has them all.
HANDED: t.Final = 20.0


def session(folder: str, first: int) -> str:
    """Publish numbers from the first one on, and return why that failed; nothing if it did not."""
    argv = ["mosquitto_pub", "-l", "-q", "1", "-t", "asked"]
    process = subprocess.Popen(
        argv,
        env={**os.environ, "XDG_CONFIG_HOME": folder},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    try:
        for number in range(first, first + NUMBERS):
            process.stdin.write("%d\n" % number)
            process.stdin.flush()
            time.sleep(PAUSE)
    except BrokenPipeError:
        pass  # it ended before; what it said follows
    try:
        said = process.communicate(timeout=HANDED)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[0]
    return "" if process.returncode == 0 else "ended with %d: %s" % (process.returncode, said[-300:])


def publish(folder: str) -> t.NoReturn:
    """Publish for ever, and count."""
    counts: dict[str, t.Any] = {"published": 0, "sessions": 0, "failed": 0, "faults": []}
    while True:
        fault = session(folder, counts["published"])
        counts["sessions"] += 1
        if fault:
            counts["failed"] += 1
            counts["faults"] = [*counts["faults"][-9:], fault]
            time.sleep(PAUSE)
        else:
            counts["published"] += NUMBERS
        with open(folder + "/new", "w") as output:
            json.dump(counts, output)
        os.replace(folder + "/new", folder + "/published.json")


if __name__ == "__main__":
    publish(sys.argv[1])
