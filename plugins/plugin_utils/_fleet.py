# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as a run sees it: model, kinds, settings and store as one scene; private to this collection."""

from __future__ import annotations

import datetime
import functools
import json
import os
import time
import typing as t
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ansible import constants

from ..module_utils._core._blocked import pairs_of_other_systems, with_pairs_blocked
from ..module_utils._core._duties import Roles, check_duties
from ..module_utils._core._entities import Component, Host, Instance, Model
from ..module_utils._core._errors import TlsError
from ..module_utils._core._kind import InstanceKind, Kind
from ..module_utils._core._kind_settings import settle
from ..module_utils._core._material import Revocation
from ..module_utils._core._model import ModelError
from ..module_utils._core._names import unix_path
from ..module_utils._core._observed import parse_host, parse_instance, parse_probe_result, parse_soak
from ..module_utils._core._scene import Scene
from ..module_utils._core._unread import pairs_without_list
from ..module_utils._core._wanting import Wishes
from ._ask import flag
from ._inventory_hosts import declarations, differences
from ._kinds import load_kind
from ._ledger import Ledger, moment_of
from ._model_source import model_from_vars
from ._operator import Operator, operator_of
from ._parallel import processors, spread
from ._place import STORE_VARIABLES
from ._seal import seal_keys
from ._store import StorePaths, StoreView, inspect, store_paths
from ._trust_list import unreadable_lists
from ._variables import plain

DIRECTORY = "/etc/connsec"


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
    """Everything on the controller that a run starts from.

    ``unread`` says what is wrong with the CA lists of others that cannot be read, by authority. What is wished for
    comes from the model before pairs were blocked for these, so that nobody else's certificate changes. ``staying``
    says why nothing of an instance is replaced, by name.
    """

    model: Model
    kinds: t.Mapping[str, InstanceKind]
    hosts: t.Mapping[str, HostFacts]
    addresses: t.Mapping[str, tuple[str, ...]]
    wishes: Wishes
    paths: StorePaths
    inventory_directory: str | None
    can_sign: bool
    now: int
    operator: Operator
    ledger: Ledger
    unread: t.Mapping[str, str] = field(default_factory=dict)
    staying: t.Mapping[str, str] = field(default_factory=dict)
    _views: dict[tuple[t.Any, ...], StoreView] = field(default_factory=dict, compare=False, repr=False)

    def blocking(self, why: t.Mapping[str, str]) -> Fleet:
        """Return the fleet with all pairs of these instances blocked, for they stay as they are; ``why`` is by name."""
        return replace(self, model=_blocked(self.model, why), staying=why, _views={})

    def lacks_list(self, instance: Instance) -> bool:
        """Return whether a CA list that the instance needs cannot be read."""
        return not self.unread.keys().isdisjoint(self.wishes.needed_by(instance))

    @property
    def today(self) -> str:
        """The date of this run in UTC, like ``2027-06-30``."""
        return datetime.datetime.fromtimestamp(self.now, datetime.UTC).date().isoformat()

    @property
    def remembered(self) -> list[str]:
        """The pairs that the ledger has, without those that were removed."""
        return [name for name, row in self.ledger.pairs().items() if row["status"] != "removed"]

    def view(
        self,
        instances: t.Sequence[Instance],
        seen: t.Mapping[str, t.Any] = MappingProxyType({}),
        *,
        revoke: t.Sequence[Revocation] = (),
    ) -> StoreView:
        """Return what the store holds of what these instances need; what is due and can wait, if nobody can sign.

        An action decides on the store as it stood at one moment, and so looks at it once.

        Args:
            instances: those that need it.
            seen: what hosts showed of instances, as plain data by name: the keys that were born there.
            revoke: certificates to revoke.
        """
        held = self.held(instances, seen)
        key = tuple(instances), tuple(sorted(held.items())), tuple(revoke)
        if key not in self._views:
            wanted = self.wishes.authorities(), self.wishes.identities(instances)
            found = inspect(self.paths, *wanted, now=self.now, held=held, revoke=revoke, trust_files=self.trust_files)
            self._views[key] = found if self.can_sign else found.without_signing()
        return self._views[key]

    def held(self, instances: t.Sequence[Instance], seen: t.Mapping[str, t.Any]) -> dict[str, tuple[str, ...]]:
        """Return the keys that were born on hosts and are still there, by identity, where somebody looked."""
        return {
            name: tuple(seen[each.name]["keys"])
            for each in instances
            for name in self.wishes.presented_by(each)
            if (seen.get(each.name) or {}).get("keys") is not None
        }

    @property
    def trust_files(self) -> dict[str, str]:
        """Return the files of the CA lists of others, by authority; their paths begin at the inventory's folder."""
        return _below(self.inventory_directory, self._trust_files)

    @functools.cached_property
    def _trust_files(self) -> dict[str, str]:
        return self.wishes.trust_files()

    def scene(
        self, pair_ids: t.Collection[str], seen: t.Mapping[str, t.Any], *, looked: bool = True, check_mode: bool = False
    ) -> Scene:
        """Return the scene: what is wanted of the instances of these pairs, what was seen, and what the ledger has."""
        instances = self.instances(pair_ids)
        view = self.view(instances, seen["instances"])
        certificates = {name: info.sha256 for name, info in view.identities.items()}
        covered = {name: info.names for name, info in view.identities.items() if info.chain_not_after >= self.now}
        ledger = self.ledger.pairs()
        blank = Scene(
            model=self.model,
            kinds=self.kinds,
            wanted={
                each.name: self.wishes.wanted(
                    each,
                    certificates=certificates,
                    roots=view.trust,
                    due=view.coming,
                    awaited=view.awaited,
                    covered=covered,
                    lists=view.lists,
                )
                for each in instances
            },
            addresses=self.addresses,
            directories={name: facts.directory for name, facts in self.hosts.items()},
            recorded={name: str(row["stage"]) for name, row in ledger.items()},
            highest={name: str(row.get("highest") or row["stage"]) for name, row in ledger.items()},
            exercised={name: str(row["exercised"]) for name, row in ledger.items() if row.get("exercised")},
            since={name: moment_of(row["since"]) for name, row in ledger.items() if row.get("since")},
            looked=looked,
            check_mode=check_mode,
        )
        return self.seeing(blank, seen)

    @staticmethod
    def seeing(scene: Scene, seen: t.Mapping[str, t.Any]) -> Scene:
        """Return the scene with other sights: plain data as a run carries them."""
        return replace(
            scene,
            instances={name: parse_instance(row) for name, row in seen["instances"].items()},
            probes={name: parse_probe_result(row) for name, row in seen["probes"].items()},
            lost=dict(seen["lost"]),
            hosts={name: parse_host(row) for name, row in seen["hosts"].items()},
            soaked={
                name: parse_soak(row, at=float(host["soak"]["at"]))
                for host in seen["hosts"].values()
                if "soak" in host
                for name, row in host["soak"]["listeners"].items()
            },
        )

    def instances(self, pair_ids: t.Collection[str] | None = None) -> list[Instance]:
        """Return our instances at the ends of these pairs (all, if none are named) that are not blocked, by name."""
        found = {}
        for pair in self.model.pairs:
            if not pair.blocked and (pair_ids is None or pair.id in pair_ids):
                found[pair.client.name] = pair.client
                found[pair.server.name] = pair.server
        return [found[name] for name in sorted(found) if self.model.managed(found[name])]


#: How many hosts have their variables rendered by one process at least.
_HOSTS_A_PROCESS: t.Final = 5
#: Renders a value with a host's variables.
Render = t.Callable[[t.Any, t.Mapping[str, t.Any]], t.Any]


def read_fleet(task_vars: t.Mapping[str, t.Any], *, render: Render) -> Fleet:
    """Return the fleet from Ansible's variables, those of its hosts rendered.

    Raises:
        TlsError: any mistake in the model, the kinds or their settings.
    """
    model, hostvars = model_from_vars(task_vars).model, task_vars["hostvars"]
    fleet = _fleet(task_vars, model, known_hosts(model.hosts, components_at(model), hostvars, render))
    left = left_hosts(fleet, task_vars)
    facts = {name: host_facts(name, (), hostvars.raw_get(name), render) for name in left}
    return replace(fleet, hosts={**fleet.hosts, **facts}) if facts else fleet


def left_hosts(fleet: Fleet, task_vars: t.Mapping[str, t.Any]) -> list[str]:
    """Return the hosts of the inventory that no pair of the model names, and where instances of ours may still lie.

    The ledger remembers them from the pairs that it has, and ``tls_left_hosts`` names others.

    Raises:
        TlsError: ``tls_left_hosts`` names a host that is not in the inventory.
    """
    asked = task_vars.get("tls_left_hosts") or []
    asked = [str(name) for name in (asked.split(",") if isinstance(asked, str) else asked)]
    strange = sorted(name for name in asked if name not in task_vars["hostvars"])
    if strange:
        raise TlsError("tls_left_hosts: %s is not in the inventory; name a host that is" % strange[0])
    known = {end.host for pair in fleet.model.pairs for end in pair.ends}
    ended = {Instance.parse(end).host for name in fleet.remembered for end in ends_of(name)}
    return sorted(name for name in {*asked, *(ended - known)} if name in task_vars["hostvars"])


def ends_of(pair: str) -> tuple[str, str]:
    """Return the names of the client instance and the server instance of a pair."""
    client, _unused, rest = pair.partition("->")
    listener, _unused, host = rest.rpartition("@")
    return client, "%s@%s" % (listener.partition(".")[0], host)


def gather(task_vars: t.Mapping[str, t.Any], *, known: t.Mapping[str, t.Any]) -> Fleet:
    """Return the fleet as an earlier action of this run found it.

    Args:
        task_vars: those of the running task.
        known: the hosts' facts (``hosts``, ``HostFacts.to_json`` by host), the CA lists that could not be read
            (``unread``), and the instances whose material stays for that (``staying``).

    Raises:
        TlsError: any mistake in the model, the kinds or their settings.
    """
    model = model_from_vars(task_vars).model
    hosts = {name: HostFacts(facts["directory"], facts["settings"]) for name, facts in known["hosts"].items()}
    return _fleet(task_vars, model, hosts, unread=known["unread"]).blocking(known["staying"])


def _fleet(
    task_vars: t.Mapping[str, t.Any],
    model: Model,
    hosts: t.Mapping[str, HostFacts],
    *,
    unread: t.Mapping[str, str] | None = None,
) -> Fleet:
    """Return the fleet; ``unread`` are the CA lists that could not be read when the run began, None to look now."""
    addresses = {name: tuple(model.hosts[name].addresses) for name in hosts if name in model.hosts}
    directory = str(task_vars.get("tls_inventory_directory") or "") or None
    declared = _declared_kinds(model)
    model = _without_settings_blocked(model, hosts, declared)
    kinds = _kinds(model, hosts, declared)
    model = with_pairs_blocked(model, pairs_of_other_systems(model, kinds))
    refuse_split_flips(model, kinds)
    refuse_udp_on_one_port(model, kinds)
    variables = {name: str(task_vars[name]) for name in STORE_VARIABLES if task_vars.get(name)}
    paths = store_paths(variables, inventory_directory=directory)
    adopt = flag(task_vars.get("tls_seal_ledger", False), "tls_seal_ledger")
    if unread is None:
        unread = unreadable_lists(_below(directory, Wishes(model, kinds, addresses).trust_files()))
    wishes = Wishes(model, kinds, addresses, unread=unread)
    model = with_pairs_blocked(model, pairs_without_list(model, wishes, unread))
    return Fleet(
        model=model,
        kinds=kinds,
        hosts=hosts,
        addresses=addresses,
        wishes=wishes,
        paths=paths,
        inventory_directory=directory,
        can_sign=bool(task_vars.get("tls_can_sign")),
        now=int(time.time()),
        operator=operator_of(task_vars),
        ledger=Ledger(paths.ledger, seal_keys(task_vars, adopt=adopt)),
        unread=unread,
    )


def components_at(model: Model) -> dict[str, list[str]]:
    """Return the components of each host that has an end of a pair that may move, hosts in order."""
    found: dict[str, list[str]] = {}
    for end in sorted(_our_ends(model), key=lambda end: (end.host, end.component)):
        found.setdefault(end.host, []).append(end.component)
    return found


def _our_ends(model: Model) -> set[Instance]:
    """Return the instances of ours at an end of a pair that may move."""
    ends = {end for pair in model.pairs if not pair.blocked for end in pair.ends}
    return {end for end in ends if model.managed(end)}


def known_hosts(
    hosts: t.Mapping[str, Host], components: t.Mapping[str, t.Collection[str]], hostvars: t.Any, render: Render
) -> dict[str, HostFacts]:
    """Return what the inventory says of the hosts that have components which may move.

    Args:
        hosts: those of the model, all of them, by name.
        components: which may move, by host.
        hostvars: Ansible's.
        render: renders a value with a host's variables.

    Raises:
        ModelError: it says of some host what the model says otherwise.
        TlsError: it does not have a host, or says of it what cannot be.
    """
    names = [name for name in sorted(hosts) if name in hostvars or name in components]

    def told(at: int) -> tuple[list[str], HostFacts | None]:
        name = names[at]
        if name not in hostvars:
            raise TlsError(
                "host %s of the model is not in the inventory; name it in a file that is read earlier" % name
            )
        variables = hostvars.raw_get(name)  # once, for it costs more than all that is done with it
        mistakes = differences(hosts[name], declarations(variables, render))
        return mistakes, host_facts(name, components[name], variables, render) if name in components else None

    # rendering takes some 8 ms a host, so that a process of its own is worth its fork for a few of them
    found = spread(told, len(names), workers=min(processors(), len(names) // _HOSTS_A_PROCESS), again=True)
    mistakes = [mistake for mistakes, _facts in found for mistake in mistakes]
    if mistakes:
        raise ModelError(mistakes)
    return {name: facts for name, (_mistakes, facts) in zip(names, found, strict=True) if facts}


def host_facts(name: str, components: t.Collection[str], variables: t.Mapping[str, t.Any], render: Render) -> HostFacts:
    """Return what a host's variables, as they were written, say of its own components.

    ``tls_settings`` mostly stands in the variables of all hosts, with every component in it: to render all of it for
    each of them costs their product.
    """
    settings = variables.get("tls_settings", {})
    if not isinstance(settings, dict):  # one template for all of it
        settings = render(settings, variables)
    if not isinstance(settings, dict):
        raise TlsError(
            "tls_settings of host %s is %r; it is a dict with a component's settings under its name" % (name, settings)
        )
    own = {component: settings[component] for component in components if component in settings}
    directory, own = render([variables.get("tls_directory", DIRECTORY), own], variables)
    return HostFacts(unix_path(str(directory), "tls_directory of host %s" % name), plain(own))


def refuse_split_flips(model: Model, kinds: t.Mapping[str, InstanceKind]) -> None:
    """Refuse a listener that can only flip and has clients in several waves: it moves all of them at one moment.

    Raises:
        TlsError: naming the listener and the waves.
    """
    waves: dict[tuple[str, str], set[int]] = {}
    for pair in model.pairs:
        if not pair.blocked and model.managed(pair.server) and kinds[pair.server.name].shape == "flip":
            waves.setdefault((pair.server.component, pair.listener.name), set()).add(pair.wave)
    for (component, listener), found in sorted(waves.items()):
        if len(found) > 1:
            raise TlsError(
                "listener %s.%s flips, so all its clients move at one moment, and they stand in the waves %s; give all"
                " its connections one wave" % (component, listener, ", ".join(str(wave) for wave in sorted(found)))
            )


def refuse_udp_on_one_port(model: Model, kinds: t.Mapping[str, InstanceKind]) -> None:
    """Refuse a UDP listener of a kind that opens no second one: TLS is spoken over TCP.

    Raises:
        TlsError: naming the listener and the kind.
    """
    for pair in model.pairs:
        if pair.listener.is_udp and not pair.blocked and model.managed(pair.server):
            kind = kinds[pair.server.name]
            if kind.shape != "second_listener":
                raise TlsError(
                    "listener %s.%s is UDP, and kind %s opens no second listener for TLS (shape: %s)"
                    % (pair.server.component, pair.listener.name, kind.kind, kind.shape)
                )


def _without_settings_blocked(model: Model, hosts: t.Mapping[str, HostFacts], declared: t.Mapping[str, Kind]) -> Model:
    """Return the model with those pairs blocked whose ends nobody has said yet how to configure.

    A fleet is moved one group of connections after another, and so are its settings written.
    """
    waits: dict[str, str] = {}
    for end in sorted(_our_ends(model), key=lambda end: end.name):
        kind = declared[model.components[end.component].kind]
        if kind.needs_settings and end.component not in hosts[end.host].settings:
            waits[end.name] = "tls_settings on host %s has nothing for %s: say how it is configured" % (
                end.host,
                end.component,
            )
    return _blocked(model, waits)


def _below(directory: str | None, paths: t.Mapping[str, str]) -> dict[str, str]:
    """Return paths that begin at a folder."""
    return {name: os.path.join(directory or "", path) for name, path in paths.items()}


def _blocked(model: Model, why: t.Mapping[str, str]) -> Model:
    """Return the model with the pairs of these instances blocked, those that are not yet; ``why`` is by instance."""
    found = {pair.id: why[end.name] for pair in model.pairs for end in reversed(pair.ends) if end.name in why}
    return with_pairs_blocked(model, found)


def _declared_kinds(model: Model) -> dict[str, Kind]:
    """Return the kinds of the components that may move, by name."""
    roles_path = list(constants.DEFAULT_ROLES_PATH or ())
    kinds = {model.components[end.component].kind for end in _our_ends(model)}
    return {name: load_kind(name, roles_path=roles_path) for name in sorted(kinds)}


def _kinds(model: Model, hosts: t.Mapping[str, HostFacts], declared: t.Mapping[str, Kind]) -> dict[str, InstanceKind]:
    """Return the kind of each instance with its settings put in, checked against what the instance does."""
    roles: dict[Instance, Roles] = {}
    for pair in model.pairs:
        if not pair.blocked:
            client, server = (roles.get(end, Roles()) for end in pair.ends)
            roles[pair.client] = replace(client, dials=True)
            demands = server.demands or pair.mode == "mutual"
            shows = server.shows or pair.listener.is_udp or not model.managed(pair.client)
            roles[pair.server] = replace(server, serves=True, demands=demands, shows=shows)
    kinds = {}
    alike: dict[tuple[str, str], InstanceKind] = {}
    for instance, does in roles.items():
        if not model.managed(instance):
            continue
        where = "tls_settings.%s on host %s" % (instance.component, instance.host)
        component = model.components[instance.component]
        given = _given(component, declared[component.kind], hosts[instance.host])
        key = component.kind, json.dumps(given, sort_keys=True)
        if key not in alike:
            alike[key] = settle(declared[component.kind], given, instance=instance.name, where=where)
        kinds[instance.name] = alike[key]
        check_duties(kinds[instance.name], does, instance=instance.name, where=where)
    return kinds


def _given(component: Component, kind: Kind, facts: HostFacts) -> dict[str, t.Any]:
    given = dict(facts.settings.get(component.name) or {})
    if component.account and "account" in kind.settings:
        given.setdefault("account", component.account)
    return given
