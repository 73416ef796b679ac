# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A twin of AIX or Solaris in a folder: made, given services, looked at, and ended."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

from .tools import aix, solaris, trust
from .tools.host import Host, lives, wait_for

HERE: t.Final = Path(__file__).resolve().parent
TOOLS: t.Final = {"aix": aix.TOOLS, "solaris": solaris.TOOLS}
#: What srcmstr has of the boot.
_BOOT: t.Final = {"PATH": "/usr/bin:/etc:/usr/sbin", "ODMDIR": "/etc/objrepos", "TZ": "UTC", "LANG": "C"}


class UnixTwin:
    """A host that says of itself that it runs AIX or Solaris."""

    def __init__(self, folder: Path, system: str, *, addresses: t.Sequence[str] = ()) -> None:
        """Make it, with its tools at their vendors' paths."""
        self.folder, self.system = folder, system
        folder.mkdir(parents=True)
        (folder / "host.json").write_text(json.dumps({"addresses": list(addresses)}))
        for path in TOOLS[system]:
            words = [sys.executable, "-I", "-S", str(HERE / "tools"), system, str(folder), path]
            self._script(folder / "root" / path[1:], 'exec %s "$@"' % shlex.join(words))
        self._script(folder / "root/usr/bin/sh", 'exec /bin/sh "$@"')
        self.python = folder / "python3"
        lines = ["CONNSEC_UNIX_TWIN=%s" % shlex.quote("%s %s" % (system, folder)), "export CONNSEC_UNIX_TWIN"]
        lines += ["PYTHONPATH=%s${PYTHONPATH:+:$PYTHONPATH}" % shlex.quote(str(HERE / "site")), "export PYTHONPATH"]
        self._script(self.python, "\n".join([*lines, 'exec %s "$@"' % shlex.quote(sys.executable)]))
        with self._host.state() as state:
            state.update({"boot": _BOOT, "subsystems": {}} if system == "aix" else {"services": {}})

    @property
    def _host(self) -> Host:
        return Host(self.folder)

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)

    # Services

    def add_subsystem(self, name: str, path: str, arguments: str = "", *, group: str = "connsec") -> None:
        """Define a subsystem of SRC, as mkssys does."""
        with self._host.state() as state:
            state["subsystems"][name] = {"path": path, "cmdargs": arguments, "group": group}

    def add_service(self, fmri: str, command: str, **more: dict[str, tuple[str, list[str]]]) -> None:
        """Import a service instance of SMF whose start method is its process; ``more`` are property groups."""
        groups: dict[str, t.Any] = {"start": {"exec": ("astring", [command])}, **more}
        copied = json.loads(json.dumps(groups))
        with self._host.state() as state:
            state["services"][fmri] = {"current": groups, "running": copied, "enabled": True, "state": "disabled"}

    def ship(self, pem: str) -> None:
        """Give it the CA certificates that its vendor ships, here one, and the list that it makes of them."""
        root = self.folder / "root"
        if self.system == "aix":
            for folder in (trust.SOURCES + "/anchors", trust.EXTRACTED.rpartition("/")[0], "var/ssl"):
                (root / folder).mkdir(parents=True)
            shipped = '[p11-kit-object-v1]\nlabel: "shipped"\ntrusted: true\n%s' % pem
            (root / trust.SOURCES / "ca-bundle.trust.p11-kit").write_text(shipped)
            (root / trust.SOURCES / "anchors/extracted").symlink_to(root / "opt/freeware/etc/ssl/certs/extracted")
            done = self.tool("/opt/freeware/bin/update-ca-bundles")
        else:
            (root / trust.ON_SOLARIS).mkdir(parents=True)
            (root / trust.ON_SOLARIS / "shipped.pem").write_text(pem)
            method = "/lib/svc/method/ca-certificates"
            methods = {name: {"exec": ("astring", ["%s %s" % (method, name)])} for name in ("start", "refresh")}
            with self._host.state() as state:
                groups = {**methods, "startd": {"duration": ("astring", ["transient"])}}
                copied = json.loads(json.dumps(groups))
                row = {"current": groups, "running": copied, "enabled": True, "state": "online"}
                state["services"]["svc:/system/ca-certificates:default"] = row
            done = self.tool(method, "start")
        assert done.returncode == 0, done.stderr

    def files(self, *folders: str) -> dict[str, str]:
        """Return the files and links below these folders, each with its mode and what it holds."""
        root = self.folder / "root"
        paths = (path for folder in folders for path in sorted((root / folder.strip("/")).rglob("*")))
        return {
            "/" + str(path.relative_to(root)): "%o %s" % (
                path.lstat().st_mode, os.readlink(path) if path.is_symlink() else path.read_text()
            )
            for path in paths
            if path.is_symlink() or path.is_file()
        }  # fmt: skip

    def services(self) -> dict[str, t.Any]:
        """Return what the service manager knows of each service."""
        with self._host.state() as state:
            return dict(state.get("services") or state.get("subsystems") or {})

    def tool(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a tool of the twin."""
        program = str(self.folder / "root") + argv[0]
        return subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False, timeout=60)

    # What it shows

    def asked(self) -> list[list[str]]:
        """Return what its tools were asked for, each with its arguments."""
        file = self.folder / "asked.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def refused(self) -> str:
        """Return what its tools were asked for and do not have."""
        file = self.folder / "refused"
        return file.read_text() if file.exists() else ""

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program on its Python."""
        argv = [str(self.python), "-c", code]
        variables = {**os.environ, **environment}
        return subprocess.run(argv, env=variables, capture_output=True, text=True, check=False, timeout=120)

    def end(self) -> None:
        """End every process that its service manager has started."""
        pids = [row["pid"] for row in self.services().values() if row.get("pid") and lives(row["pid"])]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        if not wait_for(lambda: not any(map(lives, pids))):
            for pid in filter(lives, pids):
                os.kill(pid, signal.SIGKILL)
