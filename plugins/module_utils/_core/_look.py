# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to look at: one request a host, whose one answer serves all gates; private to this collection."""

from __future__ import annotations

import typing as t

from ._dormant import is_asleep
from ._entities import Instance, Pair
from ._holding import variables
from ._kind import Option
from ._names import is_ip_address
from ._observed import HOLD
from ._scene import Scene, clear_probe, front_probe, option_id, setting, tls_probe
from ._sessions import clear_targets, rivals, sessions_of, standing_of, tls_targets
from ._stages import steps_of
from ._strangers import listener_id

#: Seconds for a probe; between two samples of a watch.
PROBE_TIMEOUT: t.Final = 5.0
SAMPLE: t.Final = 0.05

#: Protocols whose servers may refuse a client's certificate in their own words, after the handshake.
REFUSING: t.Final[t.Mapping[str, str]] = {"http": "http", "https": "http", "ldap": "ldap", "smtp": "smtp"}

Request = t.Dict[str, t.Any]


class LookPlan:
    """What is to be looked at, host by host."""

    def __init__(self, scene: Scene, *, token: str) -> None:
        """Start with nothing.

        Args:
            scene: the model, and what was seen so far.
            token: what the answers have to carry, so that none is taken for one to another question.
        """
        self._scene = scene
        self._token = token
        self._instances: dict[str, dict[str, Instance]] = {}
        self._probes: dict[str, dict[str, tuple[Pair, bool]]] = {}
        self._fronts: dict[str, dict[str, Pair]] = {}
        self._watched: dict[str, list[tuple[Instance, str]]] = {}
        self._settling: dict[str, dict[str, tuple[Pair, Instance]]] = {}
        self._collected: set[str] = set()
        self._back: dict[str, list[list[str]]] = {}
        self._glanced: set[str] = set()
        self._known: dict[str, list[str]] = {}

    def see(self, *instances: Instance) -> None:
        """Look at files, settings, process, sockets and sessions of instances, as far as they are ours."""
        for each in instances:
            if self._scene.ours(each):
                self._instances.setdefault(each.host, {})[each.name] = each

    def glance(self, instance: Instance) -> None:
        """See an instance's sessions in one moment alone: only a step asks who holds one, and none is expected."""
        self._glanced.add(instance.name)

    def try_back(self, instance: Instance, phases: t.Iterable[t.Iterable[str]]) -> None:
        """Have an instance's host tell which of these steps, by phase as they go back, it could not take back."""
        self.see(instance)
        self._back[instance.name] = [list(steps) for steps in phases]

    def find_leftovers(self, host: str, known: t.Collection[str]) -> None:
        """Have a host tell of the folders of ours that are none of those ``known``."""
        self._known[host] = sorted(known)

    def dial(self, pair: Pair, *, thorough: bool = False) -> None:
        """Dial a pair's listener as its client does, and in the clear.

        That is done at the pair's vantage. Where the client reaches any of several members, it is also dialled what
        the client dials, from the client's host.

        Args:
            pair: the pair.
            thorough: also try what has to be refused: old protocol versions, and a foreign authority's certificate.
                It stays so whoever else asks for the same pair.
        """
        probes = self._probes.setdefault(self._scene.vantage(pair).host, {})
        probes[pair.id] = (pair, thorough or (pair.id in probes and probes[pair.id][1]))
        if pair.fronted and self._scene.ours(pair.client):
            self._fronts.setdefault(pair.client.host, {})[front_probe(pair)] = pair

    def watch(self, server: Instance, listener: str) -> None:
        """Watch the peers of a clear listener, if it is ours; those of a UDP port show in no socket."""
        if not self._scene.ours(server) or self._scene.model.components[server.component].listeners[listener].is_udp:
            return
        self._watched.setdefault(server.host, []).append((server, listener))

    def collected(self, server: Instance) -> None:
        """Read what was collected of the listeners of a server's host between runs."""
        self._collected.add(server.host)

    def settle(self, pair: Pair) -> None:
        """Wait for the pair's TLS session, and the end of its clear ones, where its sockets or its server can show it.

        That is at the client's host for a second listener, and at the server's for one that lists its sessions. On one
        port the server cannot tell clients of one host apart, so there their sockets are noted all the while. For a
        client that is not ours nobody waits, for its sessions come when it likes; and nobody does for a standby that
        sleeps.
        """
        scene = self._scene
        if is_asleep(scene, pair):
            return
        if not scene.ours(pair.client):
            self.see(pair.server)
            return
        second = scene.shape(pair) == "second_listener"
        ends = [pair.client] if second else []
        # whose session somebody passed on shows at the client's end alone, where that tells clear from TLS
        if lists_sessions(scene, pair.server) and not (second and len(scene.origins(pair)) > 1):
            ends.append(pair.server)
            ends += [pair.client] if not second and rivals(scene, pair) else []
        self.see(*ends)
        for end in ends:
            self._settling.setdefault(end.host, {})["%s %s" % (pair.id, end.name)] = (pair, end)

    @property
    def hosts(self) -> list[str]:
        """The hosts that have something to look at, without those that are lost."""
        found = {*self._instances, *self._probes, *self._fronts, *self._watched, *self._settling, *self._collected}
        found |= {*self._known}
        return sorted(found - set(self._scene.lost))

    def requests(self, *, watch: float = 0.0, settle: float = 0.0) -> dict[str, Request]:
        """Return the request of each host.

        Args:
            watch: seconds for which listeners are watched.
            settle: seconds for which is waited at most, on top of what the kinds announce as interruption.
        """
        return {host: self._request(host, watch=watch, settle=settle) for host in self.hosts}

    def _request(self, host: str, *, watch: float, settle: float) -> Request:
        scene = self._scene
        instances = self._instances.get(host, {})
        probes, fronts = self._probes.get(host, {}), self._fronts.get(host, {})
        dialled = [row for name in sorted(probes) for row in self._dialled(*probes[name])]
        request: Request = {
            "token": self._token,
            "directory": scene.directories[host],
            "instances": [self._instance(instances[name]) for name in sorted(instances)],
            "probes": [*dialled, *(self._through(fronts[name]) for name in sorted(fronts))],
        }
        settling = [row for _name, row in sorted(self._settling.get(host, {}).items())]
        system = scene.model.hosts[host].os if host in scene.model.hosts else "linux"
        if system != "linux":
            request["system"] = system
        if settling:
            request["settle"] = [self._settled(pair, end, settle) for pair, end in settling]
        if host in self._collected:
            request["soak"] = True
        if host in self._known:
            request["leftovers"] = {"known": self._known[host]}
        if host in self._watched:
            rows = [self._listener(server, name) for server, name in self._watched[host]]
            request["watch"] = {"seconds": watch, "interval": SAMPLE, "listeners": rows}
        return request

    def _instance(self, instance: Instance) -> Request:
        scene = self._scene
        kind = scene.kinds[instance.name]
        pairs = scene.pairs_at(instance)
        back = self._back.get(instance.name)
        adopted = {name: dict(files) for name in scene.presented(instance) if (files := scene.model.adopted(name))}
        return {
            **({"adopted": adopted} if adopted else {}),
            **({"back": back} if back else {}),
            **({"glance": True} if instance.name in self._glanced else {}),
            "name": instance.name,
            "folder": instance.component,
            "account": kind.account,
            "process": dict(kind.process),
            "environment": environment_place(kind.environment),
            "variables": variables(scene, instance),
            "reads": [_option(option, kind.makes) for option in self._options(instance, pairs)],
            "sessions": dict(kind.sessions) or None,
            "keys": scene.model.keeps_key(instance),
            "sockets": any(scene.witness(pair) == instance for pair in pairs),
            **self._udp(instance, pairs),
        }

    def _udp(self, instance: Instance, pairs: t.Iterable[Pair]) -> Request:
        """Return the UDP ports that the instance may listen on, if there are any."""
        ports = {pair.listener.port for pair in pairs if pair.server == instance and pair.listener.is_udp}
        return {"udp": sorted(ports)} if ports else {}

    def _options(self, instance: Instance, pairs: t.Iterable[Pair]) -> list[Option]:
        """Return every option of every stage that this instance's files may hold, each place once."""
        found: dict[str, Option] = {}
        for pair in pairs:
            for stage in (*steps_of(pair), "verify"):
                if pair.end_of(stage) == instance:
                    for option in self._scene.options(stage, pair):
                        found.setdefault(option_id(option), option)
        return [found[name] for name in sorted(found)]

    def _dialled(self, pair: Pair, thorough: bool) -> t.Iterator[Request]:
        """Yield the probes of a listener, over TLS and in the clear; a member behind a name is dialled by itself."""
        mutual, vantage = pair.mode == "mutual", self._scene.vantage(pair)
        common = self._common(pair, vantage, self._scene.address(pair.server.host) if pair.fronted else pair.dial)
        yield {
            **common,
            **self._over_tls(pair, vantage),
            "id": tls_probe(pair),
            "demand": mutual,
            "old_protocols": thorough,
            "foreign": thorough and mutual,
        }
        if not pair.listener.is_udp:
            yield {**common, "id": clear_probe(pair), "tls": False, "port": pair.listener.port}

    def _through(self, pair: Pair) -> Request:
        """Return the probe of what the client dials, whichever member it leads to."""
        return {
            **self._common(pair, pair.client, pair.dial),
            **self._over_tls(pair, pair.client),
            "id": front_probe(pair),
        }

    def _common(self, pair: Pair, vantage: Instance, address: str) -> Request:
        scene = self._scene
        own = next((each for each in scene.addresses.get(vantage.host, ()) if is_ip_address(each)), None)
        protocol = pair.listener.protocol if scene.shape(pair) == "same_port" else "tls"
        common: Request = {"address": address, "name": pair.dial, "prefer_source": own, "timeout": PROBE_TIMEOUT}
        return {**common, "protocol": protocol, **self._login(pair)}

    def _login(self, pair: Pair) -> Request:
        """Return as whom to begin a session: as the client does, as far as the server's settings say that."""
        login = dict(self._scene.kinds[pair.server.name].login) if self._scene.ours(pair.server) else {}
        clients = login.pop("clients", {})
        return {**login, **clients.get(pair.client.component, {})}

    def _over_tls(self, pair: Pair, vantage: Instance) -> Request:
        """Return how an end looks: the client as itself; a server, in its client's stead, at what it has to present.

        A server holds no CA list for itself, and no certificate that it would accept.
        """
        listener, paths, itself = pair.listener, self._scene.paths_in(pair, vantage), vantage == pair.client
        presents = itself and pair.mode == "mutual"
        second = self._scene.shape(pair) == "second_listener"
        known, answers = self._scene.known(pair), REFUSING.get(listener.protocol)
        return {
            **({"protocols": list(known.protocols)} if known.protocols else {}),
            **({"ciphers": known.ciphers} if known.ciphers else {}),
            **({"answers": answers} if answers and pair.mode == "mutual" else {}),
            "tls": True,
            "port": listener.secure_port if second else listener.port,
            "trust": paths["trust" if itself else "fullchain"],
            "pinned": not itself,
            "certificate": paths["fullchain"] if presents else None,
            "key": paths["key"] if presents else None,
        }

    def _listener(self, server: Instance, name: str) -> Request:
        port = self._scene.model.components[server.component].listeners[name].port
        addresses = sorted(self._scene.addresses_of(server.host))
        process = dict(self._scene.kinds[server.name].process)
        return {"id": listener_id(server, name), "addresses": addresses, "port": port, "process": process}

    def _settled(self, pair: Pair, end: Instance, seconds: float) -> Request:
        """Return what to wait for at an end: a session that lasts for a moment, where the client held one before.

        A handshake that fails also makes a connection, so one that came and went does not do there, unless the server
        lists what was agreed on.
        """
        scene = self._scene
        before = sessions_of(scene, pair)
        held = before.clear_held or before.held
        cut = max(scene.kinds[end.name].interruption for end in scene.our_ends(pair))
        row: Request = {"seconds": seconds + cut, "instance": end.name}
        if scene.shape(pair) != "second_listener" and rivals(scene, pair):
            return {**row, **self._told_apart(pair, end, held=held)}
        if end == pair.client:
            told = lists_sessions(scene, pair.server) and len(scene.origins(pair)) == 1
            hold = HOLD if held and not told else 0.0
            present, absent = list(tls_targets(scene, pair)), list(clear_targets(scene, pair))
            return {**row, "hold": hold, "present": present, "absent": absent}
        peers = sorted(_addresses(scene, pair)) if held else []
        return {**row, "hold": HOLD if held else 0.0, "listed": peers, "listener": pair.listener.name}

    def _told_apart(self, pair: Pair, end: Instance, *, held: bool) -> Request:
        """Return what to wait for where several clients of a host share a port, whose session is whose.

        What the server lists and what each client's own sockets are is gathered all the while, and put together by
        port. Where sessions were held, as many have to stand as before, and the client has to have one that it had not.
        Who connects now and then is waited for to the end, for the next session may be anybody's.
        """
        scene, gather = self._scene, {"gather": True, "whole": not held}
        if end == pair.client:
            targets = clear_targets(scene, pair)
            known = sorted({one.local for one in scene.seen(end).sockets if one.peer in targets})
            return {**gather, "hold": HOLD if held else 0.0, "present": list(targets), "absent": [], "known": known}
        addresses = _addresses(scene, pair)
        standing = standing_of(scene, pair, addresses)
        return {
            **gather,
            "hold": HOLD if held else 0.0,
            "least": max(1, len(standing)),
            "listed": sorted(addresses),
            "listener": pair.listener.name,
        }


def _addresses(scene: Scene, pair: Pair) -> set[str]:
    """Return the addresses that the server may see the client's sessions come from."""
    found = set()
    for each in scene.origins(pair):
        at = scene.addresses_of(each.host) if scene.ours(each) else scene.model.addresses_of(each)
        found |= {address for address in at if is_ip_address(address) and "/" not in address}
    return found


def lists_sessions(scene: Scene, server: Instance) -> bool:
    """Return whether a server is ours and lists its sessions."""
    return scene.ours(server) and bool(scene.kinds[server.name].sessions)


def is_on_tls(scene: Scene, pair: Pair) -> bool:
    """Return whether the pair's client is set to use TLS, so that a session of it is worth waiting for."""
    found = setting(scene, "connect", pair)
    return found.declared and found.is_made


def environment_place(environment: t.Mapping[str, t.Any]) -> dict[str, t.Any] | None:
    """Return where an instance's environment is set: what gives it to the process, and in which file."""
    place = {name: environment[name] for name in ("target", "path", "unit", "unit_directory") if environment.get(name)}
    return place or None


def _option(option: Option, made: t.Container[str]) -> Request:
    return {
        **({"made": True} if option.file in made else {}),
        "id": option_id(option),
        "file": option.file,
        "format": option.format,
        "section": option.section,
        "key": option.key,
    }
