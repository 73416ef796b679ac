# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's way to a Windows twin: a connection plugin such as psrp, with a folder behind it instead of a host."""

from __future__ import annotations

import os
import sys
import typing as t
from pathlib import Path

from ansible import context
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from windows import Failed, Refused, Unreachable
from windows.host import Host

DOCUMENTATION = """
name: windows_twin
short_description: act out what is sent to PowerShell on a modelled Windows
description: For tests. What is modelled stands in docs/windows_twin.md.
options:
  folder:
    description: The folder that the twin is kept in.
    type: path
    required: true
    vars:
      - name: ansible_windows_twin_folder
"""

display = Display()


class Connection(ConnectionBase):  # type: ignore[misc]  # Ansible has no types
    """One modelled Windows host."""

    transport = "windows_twin"
    # As psrp and winrm have it: modules of PowerShell, piped into it (ansible-core 2.19, plugins/connection/psrp.py).
    module_implementation_preferences = (".ps1", ".exe", "")
    allow_executable = False
    has_pipelining = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        self.always_pipeline_modules = True
        self.has_native_async = True
        self._shell_type = "powershell"
        super().__init__(*args, **kwargs)

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def _host(self) -> Host:
        check = bool(context.CLIARGS.get("check") or self._play_context.check_mode)
        return Host(Path(self.get_option("folder")), check_run=check)

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        try:
            return self._host().execute(cmd, in_data)
        except Unreachable as error:
            raise AnsibleConnectionFailure(str(error)) from error

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, out_path)
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound("file or module does not exist: %s" % in_path)
        display.vvv("PUT %s TO %s" % (in_path, out_path))
        try:
            self._host().put(Path(in_path).read_bytes(), self._shell._unquote(out_path))
        except Unreachable as error:
            raise AnsibleConnectionFailure(str(error)) from error
        except (Failed, Refused) as error:
            raise AnsibleError("failed to transfer file to %s: %s" % (out_path, error)) from error

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(in_path, out_path)
        try:
            content = self._host().fetch(self._shell._unquote(in_path))
        except Unreachable as error:
            raise AnsibleConnectionFailure(str(error)) from error
        except (Failed, Refused) as error:
            raise AnsibleError("failed to transfer file from %s: %s" % (in_path, error)) from error
        Path(out_path).write_bytes(content)

    def close(self) -> None:
        self._connected = False
