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
from dataclasses import replace

from ._der import Certificate, DerError, read_certificate
from ._dial import Address, Deadline, LookFailed, dial, failure, hang_up, resolve
from ._probe import Probe
from ._tls import Contexts, Entry, Stance, part, shake_hands

if t.TYPE_CHECKING:
    from ._negotiate import Negotiation

#: Probes that run at the same time.
THREADS: t.Final = 32

#: Seconds in which a server may close a connection that we said goodbye on.
_PATIENCE: t.Final = 0.1


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
        self.doubt: str | None = None
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
        """Return what one handshake with this stance shows, and what is said behind it where that tells more."""
        context = self.contexts.of(stance) if isinstance(stance, Stance) else stance
        sock = self.connect(deadline)
        try:
            negotiation = self._negotiation()
            if negotiation:
                negotiation.ask(sock, deadline, self.probe.place)
        except (OSError, LookFailed):
            sock.close()
            raise
        entry, secure = shake_hands(context, sock, deadline, name=self.probe.name)
        if secure is not None and entry.error is None and entry.requested:
            presents = not isinstance(stance, Stance) or stance.certificate is not None
            self._hear(entry, secure, deadline, presents=presents)
        if secure is not None:
            hang_up(part(secure) if entry.error is None else secure, patience=_PATIENCE)
        return entry

    def _hear(self, entry: Entry, secure: ssl.SSLSocket, deadline: Deadline, *, presents: bool) -> None:
        """Take a refusal behind the handshake for what it is: the handshake's, said later.

        A protocol that begins with a login refuses for other reasons as well. Then it also refuses who presents a
        certificate, and what it says to others shows nothing: that is the ``doubt`` of this look.
        """
        negotiation = self._negotiation()
        if negotiation is not None and negotiation.refusal is not None and self.probe.demand:
            says = negotiation.refusal(secure, deadline, self.probe.place, self.probe.login)
            if says is not None and (presents or self.doubt):
                self.doubt = "nobody is let in as %s: %s" % (self.probe.login.user, says)
                return
        elif self.probe.answers:
            from ._refusal import refusal

            says = refusal(self.probe.answers, secure, deadline, name=self.probe.name)
        else:
            return
        if says is not None:
            entry.error, entry.alert = ssl.SSLError(says), "bad_certificate"

    def _negotiation(self) -> Negotiation | None:
        """Return how TLS is negotiated, where it does not begin with the first byte."""
        if self.probe.protocol == "tls":
            return None
        from ._negotiate import NEGOTIATIONS

        return NEGOTIATIONS.get(self.probe.protocol)

    def _in_the_clear(self, deadline: Deadline) -> dict[str, t.Any]:
        first = self.connect(deadline)
        from ._raw import clear_answer

        answer = clear_answer(
            first,
            lambda: self.connect(deadline),
            self._negotiation(),
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
        if entry.error is not None:
            return {**seen, **self._refused(entry, seen, presents=stance.certificate is not None)}
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

    def _refused(self, entry: Entry, seen: t.Mapping[str, t.Any], *, presents: bool) -> dict[str, t.Any]:
        """Return what it means that the handshake failed, or that we do not accept what it showed."""
        from ._failing import VERIFY_CLASSES, handshake_failure, verify_reason

        if not isinstance(entry.error, ssl.SSLCertVerificationError):
            return _failed(handshake_failure(self.probe.place, entry, presents=presents))
        kind = VERIFY_CLASSES.get(entry.error.verify_code, "not_accepted")
        reason = verify_reason(self.probe, kind, entry.error, seen)
        return {"outcome": "tls", "verified": False, "security": "tls_unverified", "class": kind, "reason": reason}

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
        if self.probe.demand or self.probe.foreign:
            from ._further import demanded, foreign

            if self.probe.demand:
                seen["demanded"] = demanded(self, seen, deadline) if requested is not False else False
                if self.doubt is not None:
                    seen.update(demanded="unknown", reason=self.doubt)
            if self.probe.foreign:
                seen["foreign"] = foreign(self, deadline) if requested is not False else "accepted"
        if self.probe.old_protocols:
            from ._old_protocols import old_protocols

            place, name = self.probe.place, self.probe.name
            seen["old_protocols"] = old_protocols(self.connect, self._negotiation(), deadline, place=place, name=name)


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
