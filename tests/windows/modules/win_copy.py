# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_copy's part on the host, as ansible.windows 3.3.0 has it (plugins/modules/win_copy.ps1).

Its action plugin runs on the controller as it is: it asks here which files differ (`query`), sends them to a
temporary folder, and has them put in their place (`single` for one file, `explode` for a zip of several). `remote`
copies on the host alone.

A fault that is acted out: in mode `remote` a missing folder at a `dest` that ends with a backslash is made in check
mode too (`$null = New-Item -Path $parent_dir`, without -WhatIf).
"""

from __future__ import annotations

import base64
import io
import ntpath
import typing as t
import zipfile

from .. import Failed
from ..disk import joined, parent
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    mode = call.internal.get("_copy_mode", "single")
    return _MODES[mode](call, machine)


def _ends_as_folder(path: str) -> bool:
    return path.endswith(("/", "\\"))


def _query(call: Call, machine: Machine) -> Result:
    """Return which of the controller's files and folders are to be sent."""
    dest, disk = machine.path(call["dest"]), machine.disk
    files = [each for each in call.internal.get("files") or () if _differs(call, machine, dest, each)]
    folders = []
    for each in call.internal.get("directories") or ():
        path = joined(dest, each["dest"])
        above = parent(path)
        if disk.is_file(path) or (above is not None and disk.is_file(above)):
            raise Failed("cannot copy folder to dest '%s': object at path is already a file" % path)
        if not disk.is_folder(path):
            folders.append(each)
    return {"changed": False, "files": files, "directories": folders, "symlinks": []}


def _differs(call: Call, machine: Machine, dest: str, file: dict[str, t.Any]) -> bool:
    path, disk = joined(dest, file["dest"]), machine.disk
    if disk.is_folder(path):
        path = joined(path, ntpath.basename(file["src"].replace("/", "\\")))
    if disk.is_folder(path):
        raise Failed("cannot copy file to dest '%s': object at path is already a directory" % path)
    if disk.is_file(path):
        return bool(call["force"]) and disk.digest(path) != file["checksum"]
    return True


def _source(call: Call, machine: Machine) -> bytes:
    path = machine.path(call["src"])
    if not machine.disk.is_file(path):
        raise Failed("Cannot copy src file: '%s' as it does not exist" % path)
    return machine.disk.read(path)


def _target(call: Call, machine: Machine, name: str, *, guarded: bool) -> str:
    """Return where a file goes; its folder is made only where `dest` says that it is one."""
    dest, disk = machine.path(call["dest"]), machine.disk
    as_folder = _ends_as_folder(call["dest"]) or disk.is_folder(dest)
    target = joined(dest, name) if as_folder else dest
    above = parent(target) or target
    if disk.is_file(above):
        raise Failed("object at destination parent dir '%s' is currently a file" % above)
    if not disk.is_folder(above):
        if not as_folder:
            raise Failed("Destination directory '%s' does not exist" % above)
        if not guarded:
            disk.make_folder(above)
    return target


def _single(call: Call, machine: Machine) -> Result:
    content = _source(call, machine)
    target = _target(call, machine, call.internal.get("_original_basename") or "", guarded=False)
    result: Result = {"changed": True}
    if call["backup"]:
        result["backup_file"] = _backup(machine, target)
    machine.disk.write(target, content)
    return result


def _backup(machine: Machine, path: str) -> str | None:
    if not machine.disk.is_file(path):
        return None
    copy = path + ".1234.20260101-000000.bak"
    machine.disk.write(copy, machine.disk.read(path))
    return copy


def _explode(call: Call, machine: Machine) -> Result:
    """Unpack a zip whose names are base64, so that they survive old Windows."""
    dest = machine.path(call["dest"])
    with zipfile.ZipFile(io.BytesIO(_source(call, machine))) as archive:
        for entry in archive.infolist():
            name = base64.b64decode(entry.filename.rstrip("/")).decode("utf-8")
            path = joined(dest, name)
            folder = path if entry.is_dir() else parent(path) or path
            if not machine.disk.is_folder(folder) and not call.check:
                machine.disk.make_folder(folder)
            if not entry.is_dir() and not call.check:
                machine.disk.write(path, archive.read(entry))
    return {"changed": True}


def _remote(call: Call, machine: Machine) -> Result:
    src, disk = machine.path(call["src"]), machine.disk
    if not disk.exists(src):
        raise Failed("Cannot copy src file: '%s' as it does not exist" % src)
    name = ntpath.basename(disk.spelled(src))
    if disk.is_folder(src):
        dest = machine.path(call["dest"])
        target = dest if _ends_as_folder(call["src"]) else joined(dest, name)
        changed = _copy_folder(call, machine, src, target)
        return {"changed": changed, "src": src, "dest": target, "operation": "folder_copy"}
    target = _target(call, machine, name, guarded=False)  # the fault: also in check mode
    changed = _copy_file(call, machine, src, target)
    return {
        "changed": changed,
        "src": src,
        "dest": target,
        "operation": "file_copy",
        "original_basename": name,
        "checksum": disk.digest(src) if call["force"] else None,
        "size": disk.size(target) if disk.is_file(target) else None,
    }


def _copy_folder(call: Call, machine: Machine, src: str, target: str) -> bool:
    disk, changed = machine.disk, False
    if disk.is_file(target):
        raise Failed("cannot copy folder from '%s' to '%s': dest is already a file" % (src, target))
    if not disk.is_folder(target):
        changed = True
        if not call.check:
            disk.make_folder(target)
    for child in disk.children(src):
        copy = _copy_folder if disk.is_folder(child) else _copy_file
        changed = copy(call, machine, child, joined(target, ntpath.basename(child))) or changed
    return changed


def _copy_file(call: Call, machine: Machine, src: str, target: str) -> bool:
    disk = machine.disk
    if disk.is_folder(target):
        raise Failed("cannot copy file from '%s' to '%s': dest is already a folder" % (src, target))
    if disk.is_file(target) and not (call["force"] and disk.digest(src) != disk.digest(target)):
        return False
    if not call.check:
        if call["backup"]:
            _backup(machine, target)
        disk.write(target, disk.read(src))
    return True


_MODES: t.Final = {"query": _query, "single": _single, "explode": _explode, "remote": _remote}

MODEL: t.Final = Model(
    "win_copy",
    source="545bf11d6c206128cfb93356558bc397048242c00eab3f5cbe8b9e101a4a5334",
    act=act,
    shown=("src", "dest", "backup", "force", "remote_src"),
    internal=("_copy_mode", "_original_basename", "files", "directories", "symlinks"),
    predates_basic=True,
)
