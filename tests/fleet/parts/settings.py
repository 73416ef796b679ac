# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option file of a component: its listeners, the peers that it dials, and the pools that it passes to others."""

from __future__ import annotations

import configparser
import ipaddress
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import FleetError

PROTOCOLS: t.Final = ("line", "postgresql")
TRANSPORTS: t.Final = ("tcp", "udp")
TLS_MODES: t.Final = ("off", "permit", "only")
VERIFY_MODES: t.Final = ("no", "request", "require")
CLIENT_MODES: t.Final = ("persistent", "message")

#: What the file of a component's role says of one that refuses clients until it takes over.
STANDBY: t.Final = "standby"

#: Seconds between two messages of a client.
INTERVALS: t.Final[t.Mapping[str, float]] = {"persistent": 0.05, "message": 0.2}
#: Seconds without an answer after which a client takes its session for dead, and sends again over another one.
SILENCE: t.Final = 1.0


class SettingsError(FleetError):
    """An option file cannot be used as written; one sentence says why."""


@dataclass(frozen=True)
class Listener:
    """A named port of a component; see the README beside this folder for the options."""

    name: str
    port: int | None
    tls_port: int | None
    protocol: str
    tls: str
    certificate: str | None
    key: str | None
    trust: str | None
    verify_client: str
    broken: bool
    transport: str = "tcp"
    minimum_protocol: str = "TLSv1.2"
    ciphers: str | None = None
    cut_off: str | None = None

    @property
    def speaks_tls(self) -> bool:
        """Whether it needs a certificate."""
        return self.tls_port is not None or self.tls != "off"


@dataclass(frozen=True)
class Peer:
    """A listener that this component dials."""

    name: str
    id: str
    address: str
    port: int
    mode: str
    protocol: str
    tls: bool
    verify: bool
    dialled: str
    trust: str | None
    certificate: str | None
    key: str | None
    canary: str
    patience: float
    rest: float
    transport: str = "tcp"

    @property
    def interval(self) -> float:
        """Seconds between two messages."""
        return INTERVALS[self.mode]


@dataclass(frozen=True)
class Pool:
    """Ports that are passed on to a member, which is one of the peers that this component dials by itself."""

    name: str
    ports: tuple[int, ...]
    members: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """The whole option file; paths in it are relative to its folder.

    Attributes:
        role: a file that says `standby` or `active`; a standby opens no port. Without one it is active.
    """

    name: str
    host: str
    address: str
    log: Path
    traffic: Path
    pid_file: Path
    sessions: Path
    listeners: t.Mapping[str, Listener]
    peers: t.Mapping[str, Peer]
    pools: t.Mapping[str, Pool]
    role: Path | None

    @property
    def is_standby(self) -> bool:
        """Whether it refuses everybody for now."""
        return self.role is not None and self.role.read_text(encoding="utf-8").strip() == STANDBY


_COMPONENT: t.Final = frozenset({"name", "host", "address", "log", "traffic", "pid_file", "sessions", "role"})
_LISTENER: t.Final = frozenset(
    {"port", "tls_port", "protocol", "transport", "tls", "certificate", "key", "trust", "verify_client", "broken"}
    | {"minimum_protocol", "ciphers", "cut_off"}
)
_PEER: t.Final = frozenset(
    {"id", "address", "port", "mode", "protocol", "transport", "tls", "verify", "name", "trust", "foreign_trust"}
    | {"certificate", "key", "canary", "patience", "rest"}
)
_POOL: t.Final = frozenset({"ports", "members"})


def read_settings(path: Path) -> Settings:
    """Return what an option file says.

    Raises:
        SettingsError: it cannot be read, or an option is unknown, missing or wrong.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise SettingsError("%s cannot be read: %s" % (path, " ".join(str(error).split()))) from error
    sections = {name: _Section(path, name, parser[name]) for name in parser.sections()}
    if "component" not in sections:
        raise SettingsError("%s has no section [component]" % path)
    listeners, peers, pools = {}, {}, {}
    for name, section in sections.items():
        kind, _unused, rest = name.partition(".")
        if kind == "listener" and rest:
            listeners[rest] = _listener(rest, section)
        elif kind == "peer" and rest:
            peers[rest] = _peer(rest, section)
        elif kind == "pool" and rest:
            pools[rest] = _pool(rest, section)
        elif name != "component":
            raise section.error("", "is not a section; there are component, listener.NAME, peer.SERVER.HOST, pool.NAME")
    for name, pool in pools.items():
        for member in pool.members:
            if member not in peers:
                raise sections["pool." + name].error("members", "has %s, and there is no [peer.%s]" % (member, member))
    return _settings(path, sections["component"], listeners, peers, pools)


def _settings(
    path: Path,
    section: _Section,
    listeners: t.Mapping[str, Listener],
    peers: t.Mapping[str, Peer],
    pools: t.Mapping[str, Pool],
) -> Settings:
    section.refuse_unknown(_COMPONENT)
    folder = path.resolve().parent
    ports = [port for each in listeners.values() for port in (each.port, each.tls_port) if port is not None]
    ports += [port for each in pools.values() for port in each.ports]
    role = section.get("role")
    twice = sorted({port for port in ports if ports.count(port) > 1})
    if twice:
        raise SettingsError("%s: port %d is given twice" % (path, twice[0]))
    return Settings(
        name=section.text("name"),
        host=section.text("host"),
        address=section.text("address"),
        log=folder / section.text("log"),
        traffic=folder / section.text("traffic"),
        pid_file=folder / section.text("pid_file"),
        sessions=folder / section.text("sessions"),
        listeners=listeners,
        peers=peers,
        pools=pools,
        role=folder / role if role else None,
    )


def _listener(name: str, section: _Section) -> Listener:
    section.refuse_unknown(_LISTENER)
    listener = Listener(
        name=name,
        port=section.port("port"),
        tls_port=section.port("tls_port"),
        protocol=section.choice("protocol", PROTOCOLS, "line"),
        tls=section.choice("tls", TLS_MODES, "off"),
        certificate=section.get("certificate"),
        key=section.get("key"),
        trust=section.get("trust"),
        verify_client=section.choice("verify_client", VERIFY_MODES, "no"),
        broken=section.flag("broken", default=False),
        transport=section.choice("transport", TRANSPORTS, "tcp"),
        minimum_protocol=section.choice("minimum_protocol", ("TLSv1.2", "TLSv1.3"), "TLSv1.2"),
        ciphers=section.get("ciphers"),
        cut_off=section.get("cut_off"),
    )
    if listener.port is None and listener.tls_port is None:
        raise section.error("port", "is missing, and so is tls_port")
    if listener.port is None and listener.tls != "off":
        raise section.error("port", "is missing; it is what 'tls' is about")
    if listener.tls_port is not None and listener.tls != "off":
        raise section.error("tls", "is about one port for both, but there is a tls_port")
    if listener.transport == "udp" and (listener.protocol != "line" or listener.tls != "off"):
        raise section.error("transport", "is 'udp', which is for protocol 'line' in the clear alone")
    if listener.tls == "permit" and listener.protocol == "line":
        raise section.error("tls", "is 'permit', but protocol 'line' cannot negotiate TLS")
    if listener.speaks_tls and not (listener.certificate and listener.key):
        raise section.error("certificate", "or key is missing, but the listener speaks TLS")
    if listener.speaks_tls and listener.verify_client != "no" and not listener.trust:
        raise section.error("trust", "is missing, but clients are verified")
    if listener.cut_off and not _is_address(listener.cut_off):
        raise section.error("cut_off", "is %r, and no IPv4 address" % listener.cut_off)
    return listener


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def _peer(name: str, section: _Section) -> Peer:
    section.refuse_unknown(_PEER)
    port = section.port("port")
    if port is None:
        raise section.error("port", "is missing")
    tls, verify = section.flag("tls", default=False), section.flag("verify", default=True)
    # foreign_trust stands for a client that reads another CA list than the one that it was given
    trust = section.get("foreign_trust") or section.get("trust")
    if tls and verify and not trust:
        raise section.error("trust", "is missing, but the server is verified")
    certificate, key = section.get("certificate"), section.get("key")
    if bool(certificate) != bool(key):
        raise section.error("key" if certificate else "certificate", "is missing; the two go together")
    transport, protocol = section.choice("transport", TRANSPORTS, "tcp"), section.choice("protocol", PROTOCOLS, "line")
    if transport == "udp" and (tls or protocol != "line"):
        raise section.error("transport", "is 'udp', which is for protocol 'line' in the clear alone")
    address = section.text("address")
    return Peer(
        name=name,
        id=section.text("id"),
        address=address,
        port=port,
        mode=section.choice("mode", CLIENT_MODES, "persistent"),
        protocol=protocol,
        tls=tls,
        verify=verify,
        dialled=section.get("name") or address,
        trust=trust,
        certificate=certificate,
        key=key,
        canary=section.text("canary"),
        patience=section.seconds("patience", 5.0),
        rest=section.seconds("rest", 0.0),
        transport=transport,
    )


def _pool(name: str, section: _Section) -> Pool:
    section.refuse_unknown(_POOL)
    return Pool(name=name, ports=section.ports("ports"), members=section.words("members"))


class _Section:
    """One section, whose mistakes are named with their place."""

    def __init__(self, path: Path, name: str, values: t.Mapping[str, str]) -> None:
        self._path = path
        self._name = name
        self._values = values

    def error(self, key: str, problem: str) -> SettingsError:
        return SettingsError(" ".join(filter(None, ("%s: [%s]" % (self._path, self._name), key, problem))))

    def refuse_unknown(self, known: t.Collection[str]) -> None:
        for key in self._values:
            if key not in known:
                raise self.error(key, "is not an option; there are %s" % ", ".join(sorted(known)))

    def get(self, key: str) -> str | None:
        return self._values.get(key) or None

    def text(self, key: str) -> str:
        value = self.get(key)
        if value is None or any(char.isspace() for char in value):
            raise self.error(key, "is missing" if value is None else "holds blanks")
        return value

    def choice(self, key: str, choices: t.Sequence[str], default: str) -> str:
        value = self.get(key) or default
        if value not in choices:
            raise self.error(key, "is %r; it is one of %s" % (value, ", ".join(choices)))
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        return self.choice(key, ("yes", "no"), "yes" if default else "no") == "yes"

    def port(self, key: str) -> int | None:
        value = self.get(key)
        if value is None:
            return None
        if not value.isdecimal() or not 0 < int(value) < 65536:
            raise self.error(key, "is %r; it is a number from 1 to 65535" % value)
        return int(value)

    def words(self, key: str) -> tuple[str, ...]:
        found = tuple((self.get(key) or "").split())
        if not found:
            raise self.error(key, "is missing")
        return found

    def ports(self, key: str) -> tuple[int, ...]:
        words = self.words(key)
        for word in words:
            if not word.isdecimal() or not 0 < int(word) < 65536:
                raise self.error(key, "has %r; they are numbers from 1 to 65535" % word)
        return tuple(map(int, words))

    def seconds(self, key: str, default: float) -> float:
        value = self.get(key)
        try:
            return default if value is None else float(value)
        except ValueError as error:
            raise self.error(key, "is %r; it is a number of seconds" % value) from error
