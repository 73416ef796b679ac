# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders as .NET Framework has them, those that private keys lie in included."""

from __future__ import annotations

import typing as t

from .. import Failed, Refused, sddl
from ..accounts import ADMINISTRATORS
from ..certificates import KEY_FOLDERS
from ..disk import parent
from ..machine import Machine
from .processes import DateTime
from .running import NullString
from .values import VOID, Net, PsError, Value, text, words

SECTIONS: t.Final = ("Access", "Owner")


def key_behind(machine: Machine, path: str) -> str | None:
    """Return the key container whose file lies at a path, if one does."""
    for folder in KEY_FOLDERS.values():
        if path.lower().startswith(folder.lower() + "\\"):
            name = path[len(folder) + 1 :]
            return name if name in machine.stores.containers() and machine.stores.folder(name) == folder else None
    return None


class Security(Net):
    """A security descriptor that was read, or is to be set."""

    name = "System.Security.AccessControl.DirectorySecurity"

    def __init__(self, owner: str = "", dacl: str = "") -> None:
        self._owner = owner
        self.dacl = dacl

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Security:
        return cls(*arguments)

    def m_getsecuritydescriptorsddlform(self, sections: Value) -> str:
        wanted = words(sections, SECTIONS, of="System.Security.AccessControl.AccessControlSections")
        return ("O:" + sddl.alias(self._owner) if "owner" in wanted else "") + (self.dacl if "access" in wanted else "")

    def m_setsecuritydescriptorsddlform(self, form: Value, sections: Value) -> None:
        if list(words(sections, SECTIONS, of="System.Security.AccessControl.AccessControlSections")) != ["access"]:
            raise Refused("the twin's PowerShell sets access rules alone")
        try:
            sddl.read(text(form))
        except Failed as error:
            raise PsError("System.ArgumentException", str(error)) from error
        self.dacl = text(form)


class Info(Net):
    """A file or a folder at a path."""

    name = "System.IO.FileSystemInfo"

    def __init__(self, machine: Machine, path: str) -> None:
        self._machine = machine
        self.path = path

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Info:
        (path,) = arguments
        return cls(machine, machine.path(text(path)))

    def p_fullname(self) -> str:
        return self.path

    def p_name(self) -> str:
        return self.path.rpartition("\\")[2]

    def p_lastwritetimeutc(self) -> DateTime:
        return DateTime(self._machine.disk.changed(self.path))

    def p_linktype(self) -> str | None:
        return "Junction" if self._machine.disk.target(self.path) is not None else None

    def p_target(self) -> list[str]:
        target = self._machine.disk.target(self.path)
        return [] if target is None else [target]

    def m_getaccesscontrol(self, _sections: Value) -> Security:
        container = key_behind(self._machine, self.path)
        if container is not None:
            return Security(ADMINISTRATORS, sddl.written(self._machine.stores.rules(container), protected=True))
        if not self._machine.disk.exists(self.path):
            raise PsError("System.IO.FileNotFoundException", "Could not find file '%s'." % self.path)
        owner = self._machine.accounts.sid(self._machine.owner(self.path)) or ""
        protected = self._machine.protected(self.path)
        return Security(owner, sddl.written(self._machine.rules(self.path), protected=protected))

    def m_setaccesscontrol(self, security: Security) -> None:
        rules, protected = sddl.read(security.dacl)
        container = key_behind(self._machine, self.path)
        if container is not None:
            self._machine.stores.set_rules(container, rules)
            return
        own = [rule for rule in rules if not rule.inherited]
        self._machine.set_rules(self.path, own, protected=protected)


class FileInfo(Info):
    name = "System.IO.FileInfo"

    def p_exists(self) -> bool:
        return self._machine.disk.is_file(self.path)

    def p_length(self) -> int:
        return self._machine.disk.size(self.path)


class DirectoryInfo(Info):
    name = "System.IO.DirectoryInfo"

    def m_getfiles(self, pattern: Value, option: Value) -> list[Value]:
        if pattern != "*" or option != "AllDirectories":
            raise Refused("the twin's GetFiles takes all files of all folders")
        return [FileInfo(self._machine, path) for path in self._machine.disk.below(self.path)]

    def m_getdirectories(self) -> list[Value]:
        disk = self._machine.disk
        return [DirectoryInfo(self._machine, each) for each in disk.children(self.path) if disk.is_folder(each)]


class File(Net):
    name = "System.IO.File"

    @staticmethod
    def s_exists(machine: Machine, path: Value) -> bool:
        place = machine.path(text(path))
        return machine.disk.is_file(place) or key_behind(machine, place) is not None

    @staticmethod
    def s_readalltext(machine: Machine, path: Value) -> str:
        return machine.disk.read(machine.path(text(path))).decode("utf-8-sig")

    @staticmethod
    def s_readallbytes(machine: Machine, path: Value) -> bytes:
        return machine.disk.read(machine.path(text(path)))

    @staticmethod
    def s_delete(machine: Machine, path: Value) -> Value:
        if machine.disk.is_file(machine.path(text(path))):
            machine.remove(machine.path(text(path)))
        return VOID

    @staticmethod
    def s_move(machine: Machine, path: Value, target: Value) -> Value:
        source, place = machine.path(text(path)), machine.path(text(target))
        if machine.disk.exists(place):
            raise PsError("System.IO.IOException", "Cannot create a file when that file already exists.")
        machine.disk.write(place, machine.disk.read(source))
        machine.remove(source)
        return VOID

    @staticmethod
    def s_replace(machine: Machine, path: Value, target: Value, backup: Value) -> Value:
        """ReplaceFile: what is replaced leaves its rights to what takes its place, and no backup is wanted."""
        if not isinstance(backup, NullString):
            raise PsError("System.ArgumentException", "The path is not of a legal form.")
        source, place = machine.path(text(path)), machine.path(text(target))
        if not machine.disk.is_file(place):
            raise PsError("System.IO.FileNotFoundException", "Unable to find the specified file.")
        machine.disk.write(place, machine.disk.read(source))
        machine.remove(source)
        return VOID


class Directory(Net):
    name = "System.IO.Directory"

    @staticmethod
    def s_exists(machine: Machine, path: Value) -> bool:
        return machine.disk.is_folder(machine.path(text(path)))

    @staticmethod
    def s_createdirectory(machine: Machine, path: Value, security: Security | None = None) -> Value:
        place = machine.path(text(path))
        if not machine.disk.exists(place):
            above = parent(place)
            if security is not None and above is not None and not machine.disk.exists(above):
                raise Refused("the twin's CreateDirectory gives rights to one new folder, not to those above it")
            machine.disk.make_folder(place)
            if security is not None:
                rules, protected = sddl.read(security.dacl)
                machine.set_rules(place, rules, protected=protected)
        return DirectoryInfo(machine, place)

    @staticmethod
    def s_delete(machine: Machine, path: Value, recursive: Value = False) -> Value:
        place = machine.path(text(path))
        if machine.disk.target(place) is not None:
            machine.disk.unlink(place)
        elif not recursive and machine.disk.children(place):
            raise PsError("System.IO.IOException", "The directory is not empty.")
        else:
            machine.remove(place)
        return VOID


class Path(Net):
    name = "System.IO.Path"

    @staticmethod
    def s_getfullpath(machine: Machine, path: Value) -> str:
        return machine.path(text(path))


class Stream(Net):
    """A new file that is written."""

    name = "System.IO.FileStream"

    def __init__(self, machine: Machine, path: str) -> None:
        self._machine = machine
        self._path = path
        machine.disk.write(path, b"")

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Stream:
        path, mode, access, share, *more = arguments
        if (mode, access, share) != ("CreateNew", "Write", "None"):
            raise Refused("the twin's FileStream writes new files alone")
        place = machine.path(text(path))
        if machine.disk.exists(place):
            raise PsError("System.IO.IOException", "The file '%s' already exists." % place)
        made = cls(machine, place)
        if more:
            _size, _options, security = more
            FileInfo(machine, place).m_setaccesscontrol(security)
        return made

    def m_write(self, data: bytes, offset: int, count: int) -> None:
        self._machine.disk.write(self._path, data[offset : offset + count])

    def m_flush(self, to_disk: bool) -> None:
        if not to_disk:
            raise Refused("the twin's FileStream is flushed to its disk")

    def m_dispose(self) -> None:
        """Nothing is held."""


def item(machine: Machine, path: str) -> Info:
    """Return what Get-Item gives."""
    return DirectoryInfo(machine, path) if machine.disk.is_folder(path) else FileInfo(machine, path)


TYPES: t.Final[tuple[type[Net], ...]] = (Directory, DirectoryInfo, File, FileInfo, Info, Path, Security, Stream)
