# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as a run sees it: model, kinds, settings and store as one scene; private to this collection."""

from __future__ import annotations

import json
import time
import typing as t
from dataclasses import dataclass

from ansible import constants

from ..module_utils._core._entities import Instance, Model
from ..module_utils._core._errors import TlsError
from ..module_utils._core._kind import InstanceKind, settle
from ..module_utils._core._material import WantedAuthority, WantedIdentity, identity_target
from ..module_utils._core._names import unix_path
from ..module_utils._core._scene import Scene
from ..module_utils._core._wanting import Wishes
from ._kinds import load_kind
from ._model_source import check_against_hostvars, model_from_vars
from ._store import StorePaths, StoreView, inspect, store_paths

DIRECTORY = "/etc/connsec"


def plain(value: t.Any) -> t.Any:
    """Return a value of Ansible's as plain data: its strings carry tags that other libraries refuse."""
    return json.loads(json.dumps(value))


@dataclass(frozen=True)
class HostFacts:
    """What the inventory says of a host that the model does not."""

    directory: str
    settings: t.Mapping[str, t.Any]

    def to_json(self) -> dict[str, t.Any]:
        """Return it as plain data."""
        return {"directory": self.directory, "settings": dict(self.settings)}


@dataclass(frozen=True)
class Fleet:
    """Everything on the controller that a run starts from."""

    model: Model
    kinds: t.Mapping[str, InstanceKind]
    hosts: t.Mapping[str, HostFacts]
    addresses: t.Mapping[str, tuple[str, ...]]
    wishes: Wishes
    paths: StorePaths
    inventory_directory: str | None
    now: int

    def blank_scene(self) -> Scene:
        """Return the scene before anybody looked: enough to say what to look at."""
        return Scene(
            model=self.model,
            kinds=self.kinds,
            wanted={},
            addresses=self.addresses,
            directories={name: facts.directory for name, facts in self.hosts.items()},
        )

    def view(self, instances: t.Sequence[Instance]) -> StoreView:
        """Return what the store holds of what these instances need."""
        return inspect(self.paths, self.wishes.authorities(), self.wishes.identities(instances), now=self.now)

    def scene(
        self, view: StoreView, instances: t.Sequence[Instance], seen: t.Mapping[str, t.Any], *, check_mode: bool
    ) -> Scene:
        """Return the scene: what is wanted of these instances, and what was seen of them.

        A certificate that is due is wanted anew, so its instances count as lacking it.
        """
        due = view.due
        certificates = {name: info.sha256 for name, info in view.identities.items() if identity_target(name) not in due}
        wanted = {
            instance.name: self.wishes.wanted(instance, certificates=certificates, roots=view.trust)
            for instance in instances
        }
        return Scene(
            model=self.model,
            kinds=self.kinds,
            wanted=wanted,
            addresses=self.addresses,
            directories={name: facts.directory for name, facts in self.hosts.items()},
            instances=seen.get("instances") or {},
            probes=seen.get("probes") or {},
            lost=seen.get("lost") or {},
            check_mode=check_mode,
        )

    def instances(self, pair_ids: t.Collection[str] | None = None) -> list[Instance]:
        """Return the instances at the ends of these pairs (all, if none are named) that are not blocked, by name."""
        found = {}
        for pair in self.model.pairs:
            if not pair.blocked and (pair_ids is None or pair.id in pair_ids):
                found[pair.client.name] = pair.client
                found[pair.server.name] = pair.server
        return [found[name] for name in sorted(found)]

    def wanted_identities(self, instances: t.Sequence[Instance]) -> tuple[WantedIdentity, ...]:
        """Return the identities that these instances present."""
        return self.wishes.identities(instances)

    def wanted_authorities(self) -> tuple[WantedAuthority, ...]:
        """Return the authorities of the model."""
        return self.wishes.authorities()


def gather(task_vars: t.Mapping[str, t.Any], *, known: t.Mapping[str, t.Any] | None = None) -> Fleet:
    """Return the fleet from Ansible's variables.

    Args:
        task_vars: those of the running task.
        known: the hosts' facts as an earlier action of this run found them (``HostFacts.to_json`` by host).

    Raises:
        TlsError: any mistake in the model, the kinds or their settings.
    """
    model = model_from_vars(task_vars).model
    hostvars = task_vars["hostvars"]
    names = sorted({end.host for pair in model.pairs if not pair.blocked for end in (pair.client, pair.server)})
    if known is None:
        check_against_hostvars(model, hostvars)
        hosts = {name: _host_facts(name, hostvars) for name in names}
    else:
        hosts = {name: HostFacts(known[name]["directory"], known[name]["settings"]) for name in names}
    addresses = {name: tuple(model.hosts[name].addresses) for name in names}
    kinds = _kinds(model, hosts)
    refuse_split_flips(model, kinds)
    directory = task_vars.get("tls_inventory_directory")
    variables = {name: str(task_vars[name]) for name in STORE_VARIABLES if task_vars.get(name)}
    return Fleet(
        model=model,
        kinds=kinds,
        hosts=hosts,
        addresses=addresses,
        wishes=Wishes(model, kinds, addresses),
        paths=store_paths(variables, inventory_directory=str(directory) if directory else None),
        inventory_directory=str(directory) if directory else None,
        now=int(time.time()),
    )


STORE_VARIABLES = ("tls_store", "tls_store_authorities", "tls_store_identities", "tls_store_ledger")


def _host_facts(name: str, hostvars: t.Mapping[str, t.Any]) -> HostFacts:
    if name not in hostvars:
        raise TlsError("host %s of the model is not in the inventory; name it in a file that is read earlier" % name)
    variables = hostvars[name]
    settings = variables.get("tls_settings", {})
    if not isinstance(settings, dict):
        raise TlsError(
            "tls_settings of host %s is %r; it is a dict with a component's settings under its name" % (name, settings)
        )
    return HostFacts(
        unix_path(str(variables.get("tls_directory", DIRECTORY)), "tls_directory of host %s" % name), plain(settings)
    )


def refuse_split_flips(model: Model, kinds: t.Mapping[str, InstanceKind]) -> None:
    """Refuse a listener that can only flip and has clients in several waves: it moves all of them at one moment.

    Raises:
        TlsError: naming the listener and the waves.
    """
    waves: dict[tuple[str, str], set[int]] = {}
    for pair in model.pairs:
        if not pair.blocked and kinds[pair.server.name].shape == "flip":
            waves.setdefault((pair.server.component, pair.listener.name), set()).add(pair.wave)
    for (component, listener), found in sorted(waves.items()):
        if len(found) > 1:
            raise TlsError(
                "listener %s.%s flips, so all its clients move at one moment, and they stand in the waves %s; give all"
                " its connections one wave" % (component, listener, ", ".join(str(wave) for wave in sorted(found)))
            )


def _kinds(model: Model, hosts: t.Mapping[str, HostFacts]) -> dict[str, InstanceKind]:
    kinds = {}
    for pair in model.pairs:
        if pair.blocked:
            continue
        for end in (pair.client, pair.server):
            if end.name not in kinds:
                kinds[end.name] = _settled(model, end, hosts[end.host])
    return kinds


def _settled(model: Model, instance: Instance, facts: HostFacts) -> InstanceKind:
    component = model.components[instance.component]
    kind = load_kind(component.kind, roles_path=list(constants.DEFAULT_ROLES_PATH or ()))
    given = dict(facts.settings.get(component.name) or {})
    if component.account and "account" in kind.settings:
        given.setdefault("account", component.account)
    return settle(
        kind, given, instance=instance.name, where="tls_settings.%s on host %s" % (component.name, instance.host)
    )
