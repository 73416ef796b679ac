# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take material out of the store and install it on a host, in one round trip."""

from __future__ import annotations

import base64
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core._errors import TlsError
from ..module_utils._core._material import IdentityInfo, by_folder
from ..module_utils._module import diff_of
from ..plugin_utils._called import called
from ..plugin_utils._place import STORE_VARIABLES
from ..plugin_utils._run import refuse_while_held
from ..plugin_utils._store import NOT_ISSUED_YET, MaterialFiles, NotIssued, StorePaths, material, standing, store_paths
from ..plugin_utils._variables import plain

if t.TYPE_CHECKING:
    from ..module_utils._core._windows_material import Order

MODULE = "connsec.tls.material"
WINDOWS_MODULE = "win_material"
DIRECTORY = "/etc/connsec"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The controller's half: keys leave the store here, and only inside a pipelined connection."""

    _trust_files: t.Mapping[str, str] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Hand every instance's files to the module."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = plain(dict(self._task.args))
        try:
            self._refuse_unpipelined()
            paths = self._paths(arguments.pop("store", None), variables)
            if not self._task.check_mode:
                refuse_while_held(paths)
            self._trust_files = {str(k): str(v) for k, v in (arguments.pop("trust_files", None) or {}).items()}
            state = str(arguments.get("state") or "present")
            rows, lacking = [], {}
            for row in arguments.get("instances") or ():
                try:
                    rows.append(self._row(row, paths, variables, state=state))
                except NotIssued as error:  # that keeps nothing from the others of this host
                    lacking[str(row["name"])] = str(error)
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from None
        if self._on_windows_host:
            return _with_failures(self._installed_on_windows(arguments, rows, variables), lacking)
        result: dict[str, t.Any] = self._execute_module(
            module_name=MODULE, module_args={**arguments, "instances": rows}, task_vars=variables
        )
        return _with_failures(result, lacking)

    @property
    def _on_windows_host(self) -> bool:
        """Whether it is PowerShell that answers; other shells do not say that they are no such thing."""
        return bool(getattr(self._connection._shell, "_IS_WINDOWS", False))

    def _refuse_unpipelined(self) -> None:
        """Refuse a connection that would put the payload, keys and all, into a temporary file of the host."""
        if not self._is_pipelining_enabled("new", False):
            raise TlsError(
                "material needs pipelining on %s, for without it keys would lie in a temporary file there;"
                " set ansible_pipelining: true" % self._connection.transport
            )

    def _paths(self, given: t.Mapping[str, str] | None, task_vars: t.Mapping[str, t.Any]) -> StorePaths:
        if given:
            return StorePaths(**{name: str(given[name]) for name in given})
        variables = {name: self._variable(task_vars, name) for name in STORE_VARIABLES if task_vars.get(name)}
        directory = self._variable(task_vars, "tls_inventory_directory") or self._variable(task_vars, "inventory_dir")
        return store_paths(variables, inventory_directory=str(directory) if directory else None)

    def _variable(self, task_vars: t.Mapping[str, t.Any], name: str) -> t.Any:
        value = task_vars.get(name)
        return None if value is None else plain(self._templar.template(value))

    def _row(
        self, row: dict[str, t.Any], paths: StorePaths, task_vars: t.Mapping[str, t.Any], *, state: str
    ) -> dict[str, t.Any]:
        """Return what the module is told of one instance; in check mode no content is, for no key has to travel."""
        asked = {name: row.get(name) for name in ("name", "folder", "account", "environment")}
        trust = tuple(row.get("trust") or ())
        if state == "absent":
            return asked
        if state == "previous":
            files = self._trust_files
            found = material(paths, {}, trust=trust, passphrase=None, trust_files=files) if trust else None
            trusted = found.inputs["trust"] if found else None
            stands = standing(paths, trust_files=files)
            return {**asked, "trusted": trusted, "revoked": sorted(stands.revoked), "roots": sorted(stands.roots)}
        passphrase = self._variable(task_vars, "tls_identities_passphrase") or self._variable(
            task_vars, "tls_store_passphrase"
        )
        formats = tuple(row.get("formats") or ("pem",))
        if self._on_windows_host:
            asked["formats"] = list(formats)
        elif "store" in formats:
            raise TlsError("%s reads the format store, which is that of Windows; name what it reads here" % row["name"])
        identities = by_folder(row.get("identity"), row.get("identities") or ())
        not_issued = {folder: {"certificate": NOT_ISSUED_YET} for folder in identities}
        unknown = {"identities": not_issued, "trust": [NOT_ISSUED_YET], "formats": sorted({"pem", *formats})}
        if self._task.check_mode and row.get("due"):
            return {**asked, "inputs": unknown}
        try:
            found = material(
                paths,
                identities,
                trust=trust,
                formats=formats,
                passphrase=None if passphrase is None else str(passphrase),
                instance=str(row["name"]),
                trust_files=self._trust_files,
            )
        except NotIssued:
            if not self._task.check_mode:
                raise
            return {**asked, "inputs": unknown}
        files = [] if self._task.check_mode else _files(found)
        return {
            **asked,
            "inputs": dict(found.inputs),
            "public": {folder: _public(info) for folder, info in found.identities.items()},
            "born": {folder: dict(row) for folder, row in found.born.items()},
            "files": files,
        }

    def _installed_on_windows(
        self, arguments: t.Mapping[str, t.Any], rows: list[dict[str, t.Any]], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """Install on a Windows host, where a module shows and obeys, and all is decided here."""
        from ..module_utils._core._windows_host import windows_directory
        from ..plugin_utils._windows import Asked, install

        def call(*, accounts: list[str], orders: list[Order]) -> dict[str, t.Any]:
            given = {"directory": directory, "accounts": accounts, "orders": orders}
            return called(self, WINDOWS_MODULE, given, task_vars)

        try:
            if arguments.get("look"):
                raise TlsError("material answers no look on Windows hosts")
            directory = windows_directory(str(arguments.get("directory") or DIRECTORY), default=DIRECTORY)
            state = arguments.get("state") or "present"
            form = str(self._variable(task_vars, "tls_windows_pfx") or "auto")
            done = install(Asked(directory, state, rows, check=bool(self._task.check_mode), form=form), call)
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from None
        facts = {"tls_thumbprints": done.result["thumbprints"]}
        return {**done.result, "diff": diff_of(done.changes), "ansible_facts": facts}


def _with_failures(result: dict[str, t.Any], lacking: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return what the module said, and that the store had nothing for these instances, by name."""
    if not lacking or result.get("unreachable"):
        return result
    failures = {**(result.get("failures") or {}), **lacking}
    said = "; ".join("%s: %s" % row for row in sorted(failures.items()))
    return {**result, "failures": failures, "failed": True, "msg": said}


def _files(found: MaterialFiles) -> list[dict[str, t.Any]]:
    return [
        {"name": name, "content": base64.b64encode(data).decode(), "secret": name in found.secret}
        for name, data in sorted(found.files.items())
    ]


def _public(info: IdentityInfo) -> dict[str, t.Any]:
    """Return what a host's manifest keeps of an identity."""
    return {
        "name": info.name,
        "names": list(info.names),
        "sha256": info.sha256,
        "serial": info.serial,
        "spki_sha256": info.spki_sha256,
        "issuer": info.issuer,
        "not_after": info.not_after,
        "chain_not_after": info.chain_not_after,
    }
