# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary in every secret is found nowhere: output, logs, facts, temporary files, process arguments.

That holds for a run that works at -vvvvv with --diff, and for one whose step fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import threading
import typing as t
from pathlib import Path

import pytest

from .harness import ENFORCE, PASSPHRASE, Fleet


def secrets_of(fleet: Fleet) -> dict[str, bytes]:
    """Return a part of every secret: the passphrase, the middle of each key, in the store and on hosts."""
    found = {"the passphrase": PASSPHRASE.encode()}
    for path in [*fleet.root.glob("hosts/*/connsec/*/current/key.pem"), *fleet.store.rglob("*.pem")]:
        text = path.read_bytes()
        if b"PRIVATE KEY" in text:
            body = text.partition(b"PRIVATE KEY-----\n")[2]
            found[str(path.relative_to(fleet.root))] = body.splitlines()[1]
    return found


#: Where modules send what they were called with, and who is told to have sent it: process, user and group (unix(7)).
SYSTEM_LOG: t.Final = Path("/dev/log")
_CREDENTIALS: t.Final = struct.Struct("3i")


def _is_of_others(pid: int, marker: str) -> bool:
    """Return whether a process is there and has no variable with this value."""
    try:
        found = Path("/proc/%d/environ" % pid).read_bytes()
    except OSError:
        return False
    return bool(found) and marker.encode() not in found


@contextlib.contextmanager
def system_log(marker: str) -> t.Iterator[list[bytes] | None]:
    """Take the system log's place, where it is free, and yield what is sent to it.

    Other tests may run beside this one. What comes from a process whose environment has no ``marker`` is theirs;
    a process that is gone already may be ours.
    """
    if os.geteuid() != 0 or SYSTEM_LOG.exists():
        yield None
        return
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
        place.bind(str(SYSTEM_LOG))
        place.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        place.settimeout(0.2)
        stop = threading.Event()

        def hear() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    text, rows, _flags, _sender = place.recvmsg(1 << 20, socket.CMSG_SPACE(_CREDENTIALS.size))
                    pid = _CREDENTIALS.unpack(rows[0][2])[0]
                    if not _is_of_others(pid, marker):
                        heard.append(text)

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            yield heard
        finally:
            stop.set()
            thread.join()
            SYSTEM_LOG.unlink()


def breaks(data: dict[str, t.Any]) -> None:
    """Have the servers' permit write what their test refuses."""
    breaking = {"section": "listener.{listener}", "key": "broken", "value": "yes"}
    data["tls_settings"]["confserv"]["permit"].append(breaking)


def works(data: dict[str, t.Any]) -> None:
    """Take that back."""
    data["tls_settings"]["confserv"]["permit"].pop()


def test_no_secret_is_found_outside_its_file(clear: Fleet, tmp_path: Path):
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("LEFT OUT: there is no strace on this machine; secrets in process arguments were not looked for")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    facts = tmp_path / "facts"
    log, calls = tmp_path / "ansible.log", tmp_path / "calls"
    settings = {
        "ANSIBLE_LOG_PATH": str(log),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(facts),
        "TMPDIR": str(temporary),
    }
    traced: t.Sequence[str] = (
        strace,
        "--seccomp-bpf",
        "-f",
        "-qq",
        "-s",
        "65536",
        "-e",
        "trace=execve",
        "-o",
        str(calls),
    )
    clear.edit_yaml("group_vars/all.yml", breaks)
    with system_log(str(log)) as heard:
        failed = clear.playbook("rollout", *ENFORCE, "--diff", "-vvv", **settings).must_end(2)
        clear.edit_yaml("group_vars/all.yml", works)
        run = clear.playbook("rollout", *ENFORCE, "--diff", "-vvvvv", prefix=traced, **settings).must_end(0)
    secrets = secrets_of(clear)
    assert len(secrets) > 6, secrets
    places = [log, calls, clear.root / "record.json", clear.root / "report.json", clear.root / "report.html"]
    places += [
        path for folder in (temporary, facts, clear.root / "ansible") for path in folder.rglob("*") if path.is_file()
    ]
    places += list((clear.store / "ledger").rglob("*.json*"))
    texts = {"output": run.text.encode(), **{str(path): path.read_bytes() for path in places}}
    texts["output of the run that failed"] = failed.text.encode()
    if heard is not None:
        texts["system log"] = b"\n".join(heard)
        assert b"Invoked with" in texts["system log"], "modules were not heard"
    assert not [where for where, text in texts.items() if where != str(calls) and b"PRIVATE KEY" in text]
    leaks = [(what, where) for what, secret in secrets.items() for where, text in texts.items() if secret in text]
    assert not leaks
    assert any(b"ansible-playbook" in text for text in texts.values()), "nothing was looked at"
