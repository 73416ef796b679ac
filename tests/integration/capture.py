# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A packet capture on loopback by tcpdump, and when which texts were seen in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import typing as t
from pathlib import Path

#: pcap-savefile(5): byte order, time stamps in microseconds, and the length of a packet's head.
_MAGIC: t.Final = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}
_FILE_HEAD: t.Final = 24
_PACKET_HEAD: t.Final = 16


def why_not() -> str | None:
    """Return why nothing can be captured here; None where it can."""
    if os.geteuid() != 0:
        return "capturing packets takes root"
    return None if shutil.which("tcpdump", path=_path()) else "there is no tcpdump"


def _path() -> str:
    return "%s:/usr/sbin:/sbin" % os.environ["PATH"]


@contextlib.contextmanager
def capturing(net: str, file: Path) -> t.Iterator[None]:
    """Capture all TCP packets of a network, such as 127.60.0, into a file; fail if one was missed."""
    argv = ["tcpdump", "-i", "lo", "-Z", "root", "-B", "65536", "-w", str(file), "tcp and net %s.0/24" % net]
    found = {**os.environ, "PATH": _path()}
    process = subprocess.Popen(argv, env=found, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        for line in process.stderr:
            if "listening on" in line:
                break
        yield
    finally:
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        process.wait(30)
    assert re.search(r"^0 packets dropped by kernel", said, re.M), said


def packets(file: Path) -> t.Iterator[tuple[float, bytes]]:
    """Yield each packet with the time at which it was seen."""
    data = file.read_bytes()
    order = _MAGIC[data[:4]]
    at = _FILE_HEAD
    while at + _PACKET_HEAD <= len(data):
        seconds, micros, kept, _length = struct.unpack_from(order + "IIII", data, at)
        at += _PACKET_HEAD
        yield seconds + micros / 1e6, data[at : at + kept]
        at += kept


def seen(file: Path, marks: t.Iterable[str]) -> dict[str, list[float]]:
    """Return when each of these texts was seen in the clear."""
    pattern = re.compile(b"|".join(re.escape(mark.encode()) for mark in sorted(marks, key=len, reverse=True)))
    found: dict[str, list[float]] = {mark: [] for mark in marks}
    for when, packet in packets(file):
        for mark in set(pattern.findall(packet)):
            found[mark.decode()].append(when)
    return found
