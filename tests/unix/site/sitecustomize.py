# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a Python that starts with this folder on PYTHONPATH one of AIX or Solaris, as far as programs can tell.

CONNSEC_UNIX_TWIN says whose, as ``SYSTEM FOLDER``. Such a Python says its system's name, has nothing that Linux alone
has (memory without a name, attributes of files, netlink), finds no file of Linux' kernel or of systemd, and starts the
programs that lie in the twin's folder where a vendor's path is asked for. Files of folders that only its system has are
those in the twin's folder.
"""

# It puts others in the place of functions of the standard library.
# mypy: ignore-errors
import builtins
import errno
import io
import os
import socket
import stat
import subprocess
import sys

_SYSTEM, _unused, _FOLDER = os.environ["CONNSEC_UNIX_TWIN"].partition(" ")
_NAMES = {"aix": ("AIX", "aix"), "solaris": ("SunOS", "sunos5")}
#: Folders of Linux' kernel and of systemd; what AIX and Solaris have in /proc is in another form, and is not read.
_LINUX = ("/proc", "/sys", "/run/systemd", "/etc/systemd", "/etc/profile.d", "/usr/lib/systemd", "/var/log/audit")
#: Folders and files that the system has of its own, and a tool of its vendor's by its path, lie in the twin's folder.
_ITS_OWN = ("/opt/freeware", "/var/ssl", "/etc/certs", "/etc/openssl", "/etc/os-release", "/usr/lib/os-release")
_TOOLS = ("/usr/bin/", "/usr/sbin/")
_PROGRAMS = ("/usr/", "/bin/", "/sbin/", "/etc/", "/opt/")
_ONLY_LINUX = ("memfd_create", "listxattr", "getxattr", "setxattr", "sched_getaffinity", "pidfd_open", "getrandom")


def _absent(path):
    if isinstance(path, int):
        return False
    text = os.fsdecode(path)
    return any(text == folder or text.startswith(folder + "/") for folder in _LINUX)


def _at(path):
    """Return where a path of the twin's leads on this machine."""
    if isinstance(path, int):
        return path
    text = os.fsdecode(path)
    its_own = any(text == folder or text.startswith(folder + "/") for folder in _ITS_OWN)
    if its_own or (text.startswith(_TOOLS) and _exists(_FOLDER + "/root" + text)):
        return _FOLDER + "/root" + text
    return path


def _hiding(function):
    def wrapped(path=".", *arguments, **words):
        if _absent(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return function(_at(path), *arguments, **words)

    return wrapped


def _moving(function):
    def wrapped(first, second, *arguments, **words):
        return function(_at(first), _at(second), *arguments, **words)

    return wrapped


def _exists(path, look=os.lstat):
    try:
        look(path)
    except OSError:
        return False
    return True


_LOOKING = ("open", "stat", "lstat", "listdir", "scandir", "readlink", "access")
for _name in (*_LOOKING, "mkdir", "rmdir", "unlink", "remove", "chmod", "chown", "utime"):
    setattr(os, _name, _hiding(getattr(os, _name)))
for _name in ("rename", "replace", "link"):
    setattr(os, _name, _moving(getattr(os, _name)))
io.open = builtins.open = _hiding(builtins.open)
for _name in _ONLY_LINUX:
    if hasattr(os, _name):
        delattr(os, _name)
for _name in ("AF_NETLINK", "AF_VSOCK", "AF_PACKET"):
    if hasattr(socket, _name):
        delattr(socket, _name)

_uname, _fsync, _popen = os.uname, os.fsync, subprocess.Popen.__init__


def _named():
    found = _uname()
    return os.uname_result((_NAMES[_SYSTEM][0], *found[1:]))


def _synced(file):
    """Do as AIX does, which syncs what is open for writing: a folder never is."""
    if _SYSTEM == "aix" and stat.S_ISDIR(os.fstat(file).st_mode):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return _fsync(file)


def _started(self, args, *arguments, **words):
    """Start a program of the twin where one of the system is asked for by its path or by its name."""
    argv = [os.fsdecode(part) for part in ([args] if isinstance(args, (str, bytes, os.PathLike)) else args)]
    program = argv[0]
    if program != sys.executable and (program.startswith(_PROGRAMS) or "/" not in program):
        paths = [program] if "/" in program else ["/usr/bin/" + program, "/usr/sbin/" + program]
        program = next((_FOLDER + "/root" + path for path in paths if os.path.isfile(_FOLDER + "/root" + path)), None)
        if program is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    _popen(self, [program, *argv[1:]], *arguments, **words)


os.uname, os.fsync, subprocess.Popen.__init__ = _named, _synced, _started
sys.platform = _NAMES[_SYSTEM][1]
