# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of connsec.tls.pki: issue what is missing, due or changed, in one batch on the controller."""

from __future__ import annotations

import json
import time
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._core._errors import TlsError
from ..module_utils._core._material import WantedAuthority, WantedIdentity
from ..module_utils._module import diff_of
from ..plugin_utils._csr import read_requests
from ..plugin_utils._library import refuse_old_library
from ..plugin_utils._run import refuse_while_held
from ..plugin_utils._store import (
    PASSPHRASES,
    StorePaths,
    StoreView,
    carry_out,
    inspect,
    passphrases_of,
    preflight,
    refuse_bad_place,
    store_paths,
)
from ..plugin_utils._wanted import task_options, wanted_authorities, wanted_identities, wanted_revocations

STORE_VARIABLES = {
    "path": "tls_store",
    "authorities": "tls_store_authorities",
    "identities": "tls_store_identities",
    "ledger": "tls_store_ledger",
    "requests": "tls_store_requests",
}


class ActionModule(ActionBase):
    """Read, decide, make, report; only ``run`` asks for check mode."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Issue what is due and return what is public about it."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = json.loads(json.dumps(self._task.args))  # plain values: Ansible's carry tags
        try:
            result.update(self._done(task_options(arguments), task_vars or {}))
        except TlsError as error:
            raise AnsibleActionFail(str(error)) from None
        return result

    def _done(self, options: t.Mapping[str, t.Any], task_vars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        refuse_old_library()
        authorities = wanted_authorities(options["authorities"], trust_files=options["trust_files"])
        identities = wanted_identities(options["identities"], authorities=authorities)
        requests, refused = read_requests(options["requests"], identities)
        paths = self._paths(options["store"], task_vars)
        passphrases = passphrases_of({name: self._variable(task_vars, name) for name in PASSPHRASES})
        trust_files = {str(name): str(path) for name, path in options["trust_files"].items()}
        now = int(time.time())
        wanted: tuple[StorePaths, list[WantedAuthority], list[WantedIdentity]] = (paths, authorities, identities)
        given: dict[str, t.Any] = {"passphrases": passphrases, "generations_seen": options["generations_seen"]}
        revoke = wanted_revocations(options["revoke"])
        held = {str(name): tuple(str(each) for each in keys) for name, keys in options["held"].items()}
        if self._task.check_mode:
            found = inspect(*wanted, now=now, held=held, revoke=revoke, trust_files=trust_files)
            view = preflight(paths, found, **given)
        else:
            refuse_while_held(paths)
            given.update(requests=requests, held=held, revoke=revoke, trust_files=trust_files)
            view = carry_out(*wanted, now=now, **given)
        result = _reported(view, identities, refused)
        if self._task.diff:
            result["diff"] = diff_of(view.changes)
        return result

    def _variable(self, task_vars: t.Mapping[str, t.Any], name: str) -> t.Any:
        value = task_vars.get(name)
        return None if value is None else self._templar.template(value)

    def _paths(self, store: t.Mapping[str, str | None], task_vars: t.Mapping[str, t.Any]) -> StorePaths:
        inventory = self._variable(task_vars, "tls_inventory_directory") or self._variable(task_vars, "inventory_dir")
        directory = str(inventory) if inventory else None
        variables = {}
        for option, name in STORE_VARIABLES.items():
            value = store.get(option) or (None if store.get("path") else self._variable(task_vars, name))
            variables[name] = json.loads(json.dumps(value))
        paths = store_paths(variables, inventory_directory=directory)
        refuse_bad_place(paths, inventory_directory=directory)
        return paths


def _reported(
    view: StoreView, identities: t.Sequence[WantedIdentity], refused: t.Mapping[str, str]
) -> dict[str, t.Any]:
    """Return the result: public data only."""
    warnings = [*view.notes, *view.unfinished, *(why for _name, why in sorted(refused.items()))]
    return {
        "changed": bool(view.changes),
        "reasons": {change.target: change.reason for change in view.changes},
        "postponed": {change.target: change.reason for change in view.postponed},
        "identities": {name: info.to_json() for name, info in sorted(view.identities.items())},
        "not_issued": sorted({wanted.name for wanted in identities} - set(view.identities)),
        "authorities": {name: info.to_json() for name, info in view.authorities.items()},
        "trust": {name: list(fingerprints) for name, fingerprints in view.trust.items()},
        "roots": _joined(view.roots),
        "issuing": _joined(view.issuing),
        "crls": _joined(view.crls),
        "unfinished": list(view.unfinished),
        "refused": dict(refused),
        "awaited": {name: {"seen": each.seen, "todo": each.todo} for name, each in sorted(view.awaited.items())},
        **({"warnings": warnings} if warnings else {}),
    }


def _joined(pems: t.Mapping[str, t.Sequence[str]]) -> dict[str, str]:
    return {name: "".join(several) for name, several in pems.items()}
