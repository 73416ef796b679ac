# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills a Python process before or after one of its effects, so that the product needs no code for being tested.

Python runs this file when it starts with this folder on PYTHONPATH. CONNSEC_TEST_KILL says where, as ``EFFECT NAME
WHEN``, such as ``rename current before``, and CONNSEC_TEST_KILL_COUNT may name a file that counts the times over all
processes, for ``rename pending.json after 3``.

EFFECT is ``rename``, ``remove``, ``create`` (of a file that must not be there), ``append``, ``signal`` or ``run``. NAME
is a pattern for the file's last part, or for the signal's or program's name. Python announces each of these effects to
its audit hooks before it happens (docs.python.org/3/library/audit_events.html). ``after`` carries the effect out first
where that is possible in here, and elsewhere waits until the process announces its next one.

A worker of ansible-playbook takes ansible-playbook with it, as a lost controller would; a module dies alone.
"""

import fnmatch
import os
import signal
import subprocess
import sys

_ASKED = os.environ.get("CONNSEC_TEST_KILL", "").split()
_COUNTER = os.environ.get("CONNSEC_TEST_KILL_COUNT")


def _die() -> None:
    parent = os.getppid()
    if b"ansible-playbook" in _command(os.getpid()) and b"ansible-playbook" in _command(parent):
        os.kill(parent, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _command(pid: int) -> bytes:
    with open("/proc/%d/cmdline" % pid, "rb") as file:
        return file.read()


def _described(event, arguments):
    """Return the effect's kind, the name that it is asked for by, and how to carry it out here (None: it cannot be)."""
    if event == "os.rename":
        source, target, source_fd, target_fd = arguments
        folders = {
            key: fd for key, fd in (("src_dir_fd", source_fd), ("dst_dir_fd", target_fd)) if fd not in (-1, None)
        }
        return "rename", target, lambda: os.rename(source, target, **folders)
    if event == "os.remove":
        path, fd = arguments
        return "remove", path, lambda: os.unlink(path, **({} if fd in (-1, None) else {"dir_fd": fd}))
    if event == "open" and isinstance(arguments[2], int):
        path, _mode, flags = arguments
        if flags & os.O_APPEND and flags & os.O_WRONLY:
            return "append", path, None
        if flags & os.O_EXCL:
            return "create", path, None
    if event == "os.kill" and arguments[1] != 0:
        pid, number = arguments
        return "signal", signal.Signals(number).name, lambda: os.kill(pid, number)
    if event == "subprocess.Popen":
        program, arguments, folder, environment = arguments
        return "run", program, lambda: subprocess.run(arguments, cwd=folder, env=environment, check=False)
    return None


class _Killer:
    def __init__(self, effect, name, when, times=1):
        self.effect, self.name, self.when, self.times = effect, name, when, int(times)
        self.busy = self.armed = False

    def __call__(self, event, arguments):
        if self.busy:
            return
        self.busy = True
        try:
            self._see(event, arguments)
        finally:
            self.busy = False

    def _see(self, event, arguments):
        if self.armed and event in ("open", "os.rename", "os.remove", "os.listdir"):
            _die()
        found = _described(event, arguments)
        if found is None:
            return
        effect, name, carry_out = found
        if effect != self.effect or not fnmatch.fnmatch(os.path.basename(os.fsdecode(name)), self.name):
            return
        if not self._is_time():
            return
        if self.when == "before":
            _die()
        if carry_out is None:
            self.armed = True
            return
        carry_out()
        _die()

    def _is_time(self):
        if self.times == 1 or not _COUNTER:
            return True
        file = os.open(_COUNTER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, b".")
            return os.lseek(file, 0, os.SEEK_END) >= self.times
        finally:
            os.close(file)


if _ASKED:
    sys.addaudithook(_Killer(*_ASKED))
