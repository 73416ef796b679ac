# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at endpoints: who answers, in the clear or over TLS, and how well; private to this collection.

A probe never hangs: each of its connections has a deadline. It never raises for what it sees: every way in which an
endpoint can disappoint is an outcome, a class and one sentence.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import typing as t
from dataclasses import dataclass, replace

from .._core._errors import TlsError
from ._der import Certificate, DerError, read_certificate
from ._dial import Address, Deadline, LookFailed, Outcome, dial, failure, hang_up, resolve
from ._http_refusal import refusal
from ._negotiate import NEGOTIATIONS, NOBODY, Login
from ._raw import PATIENCE, clear_answer, old_protocols
from ._tls import BorrowedIdentity, Contexts, Entry, Maximum, Stance, make_context, part, shake_hands

#: Probes that run at the same time.
THREADS: t.Final = 32

#: Seconds in which a server may close a connection that we said goodbye on.
_PATIENCE: t.Final = 0.1

#: X509_V_ERR numbers of OpenSSL's verification -> class.
_VERIFY_CLASSES: t.Final[t.Mapping[int, str]] = {
    2: "unknown_authority",
    9: "not_yet_valid",
    10: "expired",
    18: "unknown_authority",
    19: "unknown_authority",
    20: "unknown_authority",
    21: "unknown_authority",
    23: "revoked",
    24: "not_an_authority",
    26: "wrong_usage",
    62: "name_mismatch",
    64: "name_mismatch",
    66: "weak",
    67: "weak",
    68: "weak",
}

#: Alerts with which a server refuses the certificate that it was shown.
_CERTIFICATE_ALERTS: t.Final = frozenset(
    (
        "access_denied",
        "bad_certificate",
        "certificate_expired",
        "certificate_revoked",
        "certificate_unknown",
        "decrypt_error",
        "handshake_failure",
        "unknown_ca",
        "unsupported_certificate",
    )
)

#: Reasons of OpenSSL for a handshake that ended without an alert -> (outcome, class, the sentence's end).
_LIBRARY_REASONS: t.Final[t.Mapping[str, tuple[Outcome, str, str]]] = {
    "WRONG_VERSION_NUMBER": ("clear", "not_tls", "does not speak TLS"),
    "HTTP_REQUEST": ("clear", "not_tls", "does not speak TLS"),
    "PACKET_LENGTH_TOO_LONG": ("clear", "not_tls", "does not speak TLS"),
    "UNKNOWN_PROTOCOL": ("clear", "not_tls", "does not speak TLS"),
    "RECORD_LAYER_FAILURE": ("clear", "not_tls", "does not speak TLS"),
    "UNSUPPORTED_PROTOCOL": ("error", "old_protocol", "offers nothing newer than TLS 1.1"),
    "UNEXPECTED_EOF_WHILE_READING": ("closed", "closed_in_handshake", "closes the connection during the handshake"),
}

#: The versions over which a server is asked what it does with a client that it should turn away.
_LADDER: t.Final[tuple[Maximum, ...]] = ("TLSv1.2", "TLSv1.3")

#: Yes, no, or nobody can tell.
Third = t.Union[bool, t.Literal["unknown"]]


class ProbeRefused(TlsError):
    """A probe cannot be made as asked."""


@dataclass(frozen=True)
class Probe:
    """An endpoint to look at, and how.

    Attributes:
        id: name of the result.
        address: address or name to connect to.
        port: port to connect to.
        name: the name that the certificate has to hold.
        tls: whether to look for TLS, or else for an answer in the clear.
        protocol: how TLS is negotiated; one of ``NEGOTIATIONS``, and anything else for TLS from the first byte.
        source: local address to connect from.
        prefer_source: local address to connect from, where this host has it.
        trust: file of the CA certificates to verify against; None to look without verifying.
        pinned: whether a chain may end at any certificate of that file, and not only at a root.
        certificate: file of the certificate to present.
        key: file of its private key.
        foreign: certificate and key as text, of an authority that the endpoint should not trust, to try as well.
        timeout: seconds for the look, and again for the further looks that it leads to.
        ciphers: OpenSSL's list of ciphers for TLS 1.2.
        protocols: the versions that the client knows, of TLS 1.2 and 1.3; empty for both.
        old_protocols: also ask whether versions before TLS 1.2 are accepted.
        demand: also ask whether a client without a certificate is refused.
        answers: ``http`` for an endpoint that may refuse a client in HTTP, after the handshake.
        login: as whom a clear look introduces itself.
        patience: seconds after which a listener that stays silent in the clear is held to be clear.
    """

    id: str
    address: str
    port: int
    name: str
    tls: bool = True
    protocol: str = "tls"
    source: str | None = None
    prefer_source: str | None = None
    trust: str | None = None
    pinned: bool = False
    certificate: str | None = None
    key: str | None = None
    foreign: tuple[str, str] | None = None
    timeout: float = 5.0
    ciphers: str | None = None
    protocols: tuple[str, ...] = ()
    old_protocols: bool = False
    demand: bool = False
    answers: str | None = None
    login: Login = NOBODY
    patience: float = PATIENCE

    @property
    def place(self) -> str:
        """The endpoint, for messages."""
        return ("[%s]:%d" if ":" in self.address else "%s:%d") % (self.address, self.port)


def parse_probe(request: t.Mapping[str, t.Any]) -> Probe:
    """Return the probe that a request describes.

    Raises:
        ProbeRefused: a field is missing or of the wrong type.
    """
    address, port = request.get("address"), request.get("port")
    if not isinstance(address, str) or not address or not address.isprintable() or len(address) > 255:
        raise ProbeRefused("probe %r: address is %r; it is an IP address or a DNS name" % (request.get("id"), address))
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ProbeRefused("probe %r: port is %r; it is a number from 1 to 65535" % (request.get("id"), port))
    timeout = float(request.get("timeout") or 5.0)
    if not 0 < timeout <= 300:
        raise ProbeRefused("probe %r: timeout is %r; it is at most 300 seconds" % (request.get("id"), timeout))
    foreign, patience = request.get("foreign"), request.get("patience")
    return Probe(
        id=str(request.get("id") or "%s:%d" % (address, port)),
        address=address,
        port=port,
        name=str(request.get("name") or address),
        tls=bool(request.get("tls", True)),
        protocol=str(request.get("protocol") or "tls"),
        source=request.get("source") or None,
        prefer_source=request.get("prefer_source") or None,
        trust=request.get("trust") or None,
        pinned=bool(request.get("pinned")),
        certificate=request.get("certificate") or None,
        key=request.get("key") or None,
        foreign=(foreign["certificate"], foreign["key"]) if foreign else None,
        timeout=timeout,
        ciphers=request.get("ciphers") or None,
        protocols=_versions(request),
        old_protocols=bool(request.get("old_protocols")),
        demand=bool(request.get("demand")),
        answers=request.get("answers") or None,
        login=Login(user=str(request.get("user") or "postgres"), database=str(request.get("database") or "postgres")),
        patience=min(float(patience), timeout) if patience else PATIENCE,
    )


def _versions(request: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    wrong = sorted(set(request.get("protocols") or ()) - set(_LADDER))
    if wrong:
        raise ProbeRefused("probe %r: protocols has %r; it has %s" % (request.get("id"), wrong[0], ", ".join(_LADDER)))
    return tuple(sorted(request.get("protocols") or ()))


def look(probes: t.Sequence[Probe], *, threads: int = THREADS) -> dict[str, dict[str, t.Any]]:
    """Return what each probe saw, by its id; many are under way at once."""
    contexts, waiting, seen = Contexts(), list(reversed(probes)), {}

    def work() -> None:
        while True:
            try:
                probe = waiting.pop()
            except IndexError:
                return
            seen[probe.id] = Look(probe, contexts).result()

    workers = [threading.Thread(target=work, daemon=True) for _unused in range(min(threads, len(probes)) - 1)]
    for worker in workers:
        worker.start()
    work()
    for worker in workers:
        worker.join()
    return {probe.id: seen[probe.id] for probe in probes}


class Look:
    """One probe under way: its connections, and what they showed."""

    def __init__(self, probe: Probe, contexts: Contexts) -> None:
        self.probe = probe
        self.contexts = contexts
        self.source_ports: list[int] = []
        self.reached: str | None = None
        self._addresses: list[Address] = []

    def result(self) -> dict[str, t.Any]:
        """Return what the probe saw."""
        started = time.monotonic()
        seen: dict[str, t.Any] = {"outcome": "error", "verified": None, "security": None, "class": None, "reason": ""}
        deadline = Deadline(self.probe.timeout)
        try:
            self._addresses = resolve(self.probe.address, self.probe.port, deadline, place=self.probe.place)
            seen.update(self._over_tls(deadline) if self.probe.tls else self._in_the_clear(deadline))
        except OSError as error:
            seen.update(_failed(failure(error, self.probe.place)))
        except LookFailed as error:
            seen.update(_failed(error))
        seen["seconds"] = round(time.monotonic() - started, 4)
        if seen["outcome"] == "tls" or seen["class"] in ("certificate_required", "certificate_refused"):
            self._look_further(seen)
        seen["source_port"] = self.source_ports[0] if self.source_ports else None
        seen["source_ports"] = list(self.source_ports)
        seen["address"] = self.reached
        return seen

    def connect(self, deadline: Deadline) -> socket.socket:
        """Return a connection of this probe, its port noted, so that a watch can leave it out."""
        probe = self.probe
        sock = dial(
            self._addresses, probe.source or probe.prefer_source, deadline, place=probe.place, must=bool(probe.source)
        )
        self.source_ports.append(sock.getsockname()[1])
        with contextlib.suppress(OSError):  # it may have been reset already
            self.reached = sock.getpeername()[0]
        return sock

    def enter(self, stance: Stance | ssl.SSLContext, deadline: Deadline) -> Entry:
        """Return what one handshake with this stance shows."""
        context = self.contexts.of(stance) if isinstance(stance, Stance) else stance
        sock = self.connect(deadline)
        try:
            negotiation = NEGOTIATIONS.get(self.probe.protocol)
            if negotiation:
                negotiation.ask(sock, deadline, self.probe.place)
        except (OSError, LookFailed):
            sock.close()
            raise
        entry, secure = shake_hands(context, sock, deadline, name=self.probe.name)
        if secure is not None and entry.error is None and entry.requested and self.probe.answers == "http":
            self._hear(entry, secure, deadline)
        if secure is not None:
            hang_up(part(secure) if entry.error is None else secure, patience=_PATIENCE)
        return entry

    def _hear(self, entry: Entry, secure: ssl.SSLSocket, deadline: Deadline) -> None:
        """Take a refusal in HTTP for what it is: the handshake's, said later."""
        says = refusal(secure, deadline, name=self.probe.name)
        if says is not None:
            entry.error, entry.alert = ssl.SSLError(says), "bad_certificate"

    def _in_the_clear(self, deadline: Deadline) -> dict[str, t.Any]:
        answer = clear_answer(
            lambda: self.connect(deadline),
            NEGOTIATIONS.get(self.probe.protocol),
            deadline,
            place=self.probe.place,
            login=self.probe.login,
            patience=self.probe.patience,
        )
        return {"outcome": "clear", "security": "clear", "reason": "%s %s" % (self.probe.place, answer)}

    def _over_tls(self, deadline: Deadline) -> dict[str, t.Any]:
        stance, flaws = self._stance()
        entry = self.enter(stance, deadline)
        if isinstance(entry.error, ssl.SSLCertVerificationError) and entry.leaf is None:
            unverified = self.enter(replace(stance, trust=None), deadline)
            entry.leaf, entry.served = unverified.leaf, unverified.served
        seen = _described(entry)
        if isinstance(entry.error, ssl.SSLCertVerificationError):
            kind = _VERIFY_CLASSES.get(entry.error.verify_code, "not_accepted")
            reason = _verify_reason(self.probe, kind, entry.error, seen)
            return {
                **seen,
                "outcome": "tls",
                "verified": False,
                "security": "tls_unverified",
                "class": kind,
                "reason": reason,
            }
        if entry.error is not None:
            return {
                **seen,
                **_failed(_handshake_failure(self.probe.place, entry, presents=stance.certificate is not None)),
            }
        mutual = bool(entry.requested) and stance.certificate is not None
        verified = stance.trust is not None
        flaw = flaws[0] if flaws else None
        return {
            **seen,
            "outcome": "tls",
            "verified": verified if self.probe.trust else None,
            "security": ("mutual" if mutual else "verified") if verified else "tls_unverified",
            "class": flaw.kind if flaw else None,
            "reason": str(flaw) if flaw else _success(self.probe, entry, verified=verified, mutual=mutual),
        }

    def _stance(self) -> tuple[Stance, list[LookFailed]]:
        """Return how to take part, without the files that cannot be used, and what is wrong with those."""
        probe, flaws = self.probe, []
        stance = Stance(ciphers=probe.ciphers)
        if probe.protocols:
            stance = replace(stance, minimum=probe.protocols[0], maximum=probe.protocols[-1])
        for wanted in (
            {"trust": probe.trust, "pinned": probe.pinned} if probe.trust else {},
            {"certificate": probe.certificate, "key": probe.key} if probe.certificate else {},
        ):
            with_file = replace(stance, **wanted)
            try:
                self.contexts.of(with_file)
            except LookFailed as flaw:
                if flaw.kind == "bad_ciphers":
                    raise
                flaws.append(flaw)
            else:
                stance = with_file
        return stance, flaws

    def _look_further(self, seen: dict[str, t.Any]) -> None:
        """Ask what needs connections of its own, and put it into ``seen``; they share a second deadline."""
        deadline = Deadline(self.probe.timeout)
        requested = seen.get("requested")
        if self.probe.demand:
            seen["demanded"] = self._demanded(seen, deadline) if requested is not False else False
        if self.probe.foreign:
            seen["foreign"] = self._foreign(deadline) if requested is not False else "accepted"
        if self.probe.old_protocols:
            seen["old_protocols"] = old_protocols(
                self.connect,
                NEGOTIATIONS.get(self.probe.protocol),
                deadline,
                place=self.probe.place,
                name=self.probe.name,
            )

    def _demanded(self, seen: t.Mapping[str, t.Any], deadline: Deadline) -> Third:
        """Return whether a client without a certificate is turned away."""
        if seen["class"] == "certificate_required":
            return True
        if (
            self.probe.certificate is None
            and seen["outcome"] == "tls"
            and seen["class"] not in _VERIFY_CLASSES.values()
        ):
            return False  # it came in without one just now
        return self._turns_away(lambda version: self._admits(Stance(maximum=version), deadline))

    def _foreign(self, deadline: Deadline) -> t.Literal["refused", "accepted", "unknown"]:
        """Return what becomes of a client with the certificate of a foreign authority."""
        certificate, key = self.probe.foreign or ("", "")

        def admits(version: Maximum) -> Third:
            with BorrowedIdentity(certificate, key) as path:
                try:
                    context = make_context(Stance(certificate=path, maximum=version))
                except LookFailed:
                    return "unknown"
            return self._admits(context, deadline)

        turned_away = self._turns_away(admits)
        return "unknown" if turned_away == "unknown" else "refused" if turned_away else "accepted"

    @staticmethod
    def _turns_away(admits: t.Callable[[Maximum], Third]) -> Third:
        """Ask over TLS 1.2, where a refusal ends the handshake, and over TLS 1.3 where that is all a server has."""
        for version in _LADDER:
            admitted = admits(version)
            if admitted != "unknown":
                return not admitted
        return "unknown"

    def _admits(self, stance: Stance | ssl.SSLContext, deadline: Deadline) -> Third:
        """Return whether the server lets a client with this stance in; "unknown" if it never asked who that is."""
        try:
            entry = self.enter(stance, deadline)
        except (OSError, LookFailed):
            return "unknown"
        if entry.error is None:
            return True
        asked = entry.requested if entry.requested is not None else _is_about_certificates(entry)
        return False if asked and not isinstance(entry.error, socket.timeout) else "unknown"


def _failed(error: LookFailed) -> dict[str, t.Any]:
    """Return a failure as part of a result."""
    return {
        "outcome": error.outcome,
        "verified": None,
        "security": "clear" if error.outcome == "clear" else None,
        "class": error.kind,
        "reason": str(error),
        **({"alert": error.alert} if error.alert else {}),
    }


def _described(entry: Entry) -> dict[str, t.Any]:
    """Return what a handshake showed of the server, as far as it got."""
    seen: dict[str, t.Any] = {
        "protocol": entry.protocol,
        "cipher": entry.cipher,
        "requested": "unknown" if entry.requested is None else entry.requested,
        "chain": "unknown" if entry.served is None else [_chain_link(der) for der in entry.served],
    }
    if entry.leaf is not None:
        try:
            seen.update(_certificate(read_certificate(entry.leaf)))
        except DerError as error:
            seen["unreadable"] = str(error)
    return seen


def _certificate(certificate: Certificate) -> dict[str, t.Any]:
    return {
        "names": list(certificate.names),
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "serial": certificate.serial,
        "sha256": certificate.sha256,
        "issuer": certificate.issuer,
        "subject": certificate.subject,
    }


def _chain_link(der: bytes) -> dict[str, t.Any]:
    try:
        certificate = read_certificate(der)
    except DerError as error:
        return {"unreadable": str(error)}
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_after": certificate.not_after,
        "serial": certificate.serial,
        "sha256": certificate.sha256,
    }


def _success(probe: Probe, entry: Entry, *, verified: bool, mutual: bool) -> str:
    if not verified:
        return "%s speaks %s; nothing was verified" % (probe.place, entry.protocol)
    both = ", and accepted our certificate" if mutual else ""
    return "%s is verified as %s over %s%s" % (probe.place, probe.name, entry.protocol, both)


def _verify_reason(probe: Probe, kind: str, error: ssl.SSLCertVerificationError, seen: t.Mapping[str, t.Any]) -> str:
    """Return one sentence that names what was served and why it was not accepted."""
    served = ", ".join(seen.get("names") or ()) or "no name at all"
    says = {
        "unknown_authority": "presents a certificate of %r, to which %s does not lead"
        % (seen.get("issuer") or "an unnamed authority", probe.trust),
        "name_mismatch": "presents a certificate for %s, not for %s" % (served, probe.name),
        "expired": "presents a chain that expired: its certificate is valid until %s" % _date(seen.get("not_after")),
        "not_yet_valid": "presents a chain that is not valid yet: its certificate is from %s"
        % _date(seen.get("not_before")),
    }.get(kind, "presents a certificate that is not accepted")
    return "%s %s (%s)" % (probe.place, says, error.verify_message)


def _date(seconds: t.Any) -> str:
    if not isinstance(seconds, int):
        return "an unknown time"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "second %d" % seconds


def _is_about_certificates(entry: Entry) -> bool:
    """Return whether the server's alert may be about the certificate that it asked for."""
    return entry.alert == "certificate_required" or entry.alert in _CERTIFICATE_ALERTS


def _handshake_failure(place: str, entry: Entry, *, presents: bool) -> LookFailed:
    """Return what it means that a handshake failed for another reason than our verification."""
    error = entry.error
    if isinstance(error, socket.timeout):
        return LookFailed("timeout", "no_answer", "%s accepts the connection and does not answer a handshake" % place)
    if entry.alert is not None:
        return _alert_failure(place, entry, presents=presents)
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLEOFError) or (isinstance(error, ssl.SSLError) and "EOF" in str(error)):
        reason = "UNEXPECTED_EOF_WHILE_READING"
    if reason in _LIBRARY_REASONS:
        outcome, kind, says = _LIBRARY_REASONS[reason]
        return LookFailed(outcome, kind, "%s %s" % (place, says))
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return failure(error, place)
    words = reason.lower().replace("_", " ") or str(error)
    return LookFailed("error", "handshake_failed", "the handshake with %s fails: %s" % (place, words))


def _alert_failure(place: str, entry: Entry, *, presents: bool) -> LookFailed:
    alert = entry.alert or ""
    asked = entry.requested is not False and _is_about_certificates(entry)
    if asked and not presents:
        kind, says = "certificate_required", "demands a client certificate"
    elif asked:
        kind, says = "certificate_refused", "refuses our certificate"
    elif alert == "protocol_version":
        kind, says = "old_protocol", "accepts neither TLS 1.2 nor TLS 1.3"
    elif alert == "handshake_failure":
        kind, says = "nothing_shared", "shares no cipher, group or signature with us"
    else:
        kind, says = alert, "ends the handshake"
    return LookFailed("alert", kind, "%s %s (alert %s)" % (place, says, alert), alert=alert)
