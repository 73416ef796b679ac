# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says that its fleet is: instances, listeners and pairs; and copies of it for other places.

It reads the YAML by itself, and not through the collection: what the fleet does must not depend on what is tested.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from . import FleetError
from .records import replace_file

CONNECTIONS: t.Final = "tls_connections.yml"
VARIABLES: t.Final = Path("group_vars", "all.yml")
#: What the model of a fleet calls the fleet's folder, for it has no variables.
ROOT: t.Final = "/srv/demo-hard"


class InventoryError(FleetError):
    """An inventory is not one of a fleet."""


@dataclass(frozen=True)
class Instance:
    """A component on a host; one that is not ours has a place of its own name.

    Attributes:
        signed_by: the PKI team whose certificate it has from the start, if it has one.
        managed: whether it is ours. What is, and has a certificate from the start, serves over TLS from the start.
        standby: whether it refuses everybody until it takes over.
    """

    component: str
    host: str
    address: str
    kind: str
    listeners: t.Mapping[str, t.Mapping[str, t.Any]] = field(default_factory=dict)
    signed_by: str | None = None
    managed: bool = True
    standby: bool = False

    @property
    def name(self) -> str:
        """Its name, as the collection writes it."""
        return "%s@%s" % (self.component, self.host)

    @property
    def is_java(self) -> bool:
        """Whether the JVM runs it."""
        return self.kind == "java"

    @property
    def on_tls(self) -> bool:
        """Whether it serves over TLS, and nothing else, from the start."""
        return self.managed and self.signed_by is not None


@dataclass(frozen=True)
class Pair:
    """A client instance and the listener of a server instance that it dials.

    Attributes:
        mode: ``persistent`` or ``message``, how the client connects.
        shape: how the listener moves to TLS.
        interruption: seconds for which either end is announced to be away.
        wave: the run that is to move it.
        dial: what the client connects to: the server's address, or what is in between.
        through: what passes the connection on.
        dormant: whether no message is sent for long.
    """

    client: Instance
    server: Instance
    listener: str
    mode: str
    shape: str
    interruption: float
    wave: int = 1
    dial: str = ""
    through: tuple[Instance, ...] = ()
    dormant: bool = False

    @property
    def id(self) -> str:
        """Its name, as the collection writes it."""
        return "%s->%s.%s@%s" % (self.client.name, self.server.component, self.listener, self.server.host)

    @property
    def canary(self) -> str:
        """A text that only this pair's messages hold."""
        return "CONNSEC-CANARY-" + self.id

    @property
    def port(self) -> int:
        """The clear port."""
        return int(self.server.listeners[self.listener]["port"])

    @property
    def protocol(self) -> str:
        """What the programs speak on it."""
        declared = self.server.listeners[self.listener]["protocol"]
        return "postgresql" if declared == "postgresql" else "line"

    @property
    def transport(self) -> str:
        """Whether messages are datagrams for now, or go over connections."""
        return str(self.server.listeners[self.listener].get("transport", "tcp"))


@dataclass(frozen=True)
class Fleet:
    """All instances and pairs of an inventory.

    Attributes:
        teams: the PKI teams around it: the name that each goes by, and the one in its certificates.
    """

    instances: tuple[Instance, ...]
    pairs: tuple[Pair, ...]
    teams: t.Mapping[str, str] = field(default_factory=dict)

    def instance(self, name: str) -> Instance:
        """Return an instance by its name.

        Raises:
            InventoryError: there is none of this name.
        """
        for each in self.instances:
            if each.name == name:
                return each
        raise InventoryError("there is no %s; there are %s" % (name, ", ".join(each.name for each in self.instances)))

    @property
    def java(self) -> tuple[Instance, ...]:
        """The instances that need a JDK."""
        return tuple(each for each in self.instances if each.is_java)

    def clients_first(self) -> list[list[Instance]]:
        """Return the instances in levels: whoever dials before whomever it dials."""
        waiting = {each.name: each for each in self.instances}
        levels = []
        while waiting:
            pairs = [pair for pair in self.pairs if pair.client.name in waiting and pair.client != pair.server]
            dialled = {each.name for pair in pairs for each in (pair.server, *pair.through) if each != pair.client}
            level = [each for name, each in waiting.items() if name not in dialled] or list(waiting.values())
            levels.append(level)
            for each in level:
                del waiting[each.name]
        return levels


def read_fleet(inventory: Path) -> Fleet:
    """Return the fleet of an inventory.

    Raises:
        InventoryError: it is not one of a fleet.
    """
    model, variables = (_yaml(inventory / name) for name in (CONNECTIONS, VARIABLES))
    instances = _instances(model, variables)
    per_message = variables.get("fleet_connect_per_message") or ()
    pairs = []
    for connection in model["connections"]:
        component, _unused, listener = connection["server"].partition(".")
        client = connection["client"]
        shown = [variables["tls_settings"].get(name) or {} for name in (client, component)]
        pairs += [
            Pair(
                client=one,
                server=other,
                listener=listener,
                mode="message" if client in per_message else "persistent",
                shape=str(shown[1].get("shape", "second_listener")),
                interruption=max(float(each.get("interruption", 0)) for each in shown),
                wave=int(connection.get("wave", 1)),
                dial=connection.get("dial", other.address),
                through=tuple(
                    instances[each["component"]][0]
                    for each in connection.get("through") or ()
                    if each["component"] in instances  # one that nobody plays here is not the fleet's
                ),
                dormant="dormant" in connection,
            )
            for one in instances.get(client, ())
            for other in instances.get(component, ())
            if one != other
        ]
    everything = tuple(each for several in instances.values() for each in several)
    by_id = tuple(sorted(pairs, key=lambda pair: pair.id))
    return Fleet(everything, by_id, variables.get("fleet_teams") or {})


def _instances(model: t.Mapping[str, t.Any], variables: t.Mapping[str, t.Any]) -> dict[str, list[Instance]]:
    """Return the instances of each component; one that is not ours has some where the fleet plays it as well."""
    signed = variables.get("fleet_certificates") or {}
    standbys = {
        each["server"].partition(".")[0] for each in model["connections"] if each.get("dormant") == "standby"
    }  # fmt: skip
    found = {}
    for component, spec in model["components"].items():
        managed = spec.get("managed", True)
        if not managed and component not in (variables.get("fleet_others") or ()):
            continue
        places = {host: model["hosts"][host]["addresses"] for host in spec.get("hosts", ())}
        found[component] = [
            Instance(
                component=component,
                host=place,
                address=addresses[0],
                kind=spec["kind"],
                listeners=spec.get("listeners") or {},
                signed_by=signed.get(component),
                managed=managed,
                standby=component in standbys,
            )
            for place, addresses in (places if managed else {component: spec["addresses"]}).items()
        ]
    return found


def bind_inventory(target: Path, *, root: Path, programs: Path, net: str | None, java: bool) -> None:
    """Bind a copy of an inventory to its place; what else was changed in it stays.

    Args:
        target: folder of the copy.
        root: the fleet's folder.
        programs: the folder of the fleet's programs.
        net: the first three numbers of the hosts' addresses, if they are to be others.
        java: whether components of the JVM stay in it.
    """
    connections = target / CONNECTIONS
    text = connections.read_text(encoding="utf-8")
    if net:
        text = re.sub(r"\b127\.\d+\.\d+(?=\.\d)", net, text)
    text = text.replace(ROOT + "/", "%s/" % root)
    if not java and any(spec["kind"] == "java" for spec in yaml.safe_load(text)["components"].values()):
        text = _without_java(yaml.safe_load(text))
    replace_file(connections, text)
    places = {"fleet_root": str(root), "fleet_programs": str(programs)}
    lines = (target / VARIABLES).read_text(encoding="utf-8").splitlines()
    replace_file(target / VARIABLES, "".join(_bind(line, places) + "\n" for line in lines))


def _bind(line: str, places: t.Mapping[str, str]) -> str:
    name = line.partition(":")[0]
    return "%s: %s" % (name, json.dumps(places[name])) if name in places else line


def _without_java(model: dict[str, t.Any]) -> str:
    gone = {name for name, spec in model["components"].items() if spec["kind"] == "java"}
    model["components"] = {name: spec for name, spec in model["components"].items() if name not in gone}
    model["connections"] = [
        each for each in model["connections"] if not {each["client"], each["server"].partition(".")[0]} & gone
    ]
    return "---\n" + yaml.safe_dump(model, sort_keys=False)


def _yaml(path: Path) -> t.Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InventoryError("%s is not of a fleet's inventory: %s" % (path, error)) from error
