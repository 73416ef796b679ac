# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a step: why it may not start; private to this collection.

The plan was made from an earlier look. Since then rounds have run, hosts were lost, people have worked, so every step
is asked again with the newest that was seen.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ._dormant import is_asleep
from ._entities import Instance, Pair
from ._evidence import fails
from ._hold import Hold, refuted, waiting
from ._holding import lacks_variable, material_fault
from ._scene import Scene, setting
from ._sessions import presented_by, presented_perhaps, sessions_of
from ._stages import GATES, lost_host, not_passed_on, rank, step_name, unreachable
from ._steps import Round, Step
from ._strangers import Watched, closes_itself, ends_plaintext, strangers
from ._survey import Ask, Survey, unit_of
from ._window import why_not_now

#: What stands in a value by itself: between blanks, or as in ``sslkey=/key.pem`` and ``{keyfile,"/key.pem"}``.
_WORDS: t.Final = re.compile(r"""[^\s=,;'"{}]+""")


@dataclass(frozen=True)
class Before:
    """What is known before a round.

    Attributes:
        scene: the newest that was seen.
        ask: what was asked for.
        this: the round.
        down: instances that are not to be relied on.
        watched: what the watch of clear listeners saw.
        now: this moment, in seconds since 1970.
    """

    scene: Scene
    ask: Ask
    this: Round
    down: t.Collection[str] = ()
    watched: Watched = field(default_factory=dict)
    now: float = 0.0


def may_start(before: Before, step: Step) -> Hold | None:
    """Return why a step of the round may not start now; None if it may."""
    scene = before.scene
    if step.instance.host in scene.lost:
        return refuted(lost_host(scene, step.instance))
    member = next((name for name in sorted(before.down) if _is_member(name, step.instance)), None)
    if member:
        expected, seen = "%s answers as before" % member, "it does not, so %s is left alone" % step.instance.name
        return waiting("reach", expected, seen, todo="see to %s, and run again" % member)
    if scene.check_mode:
        return None
    held = (_BACK if step.reverse else _START)[step.stage](before, step)
    return held or why_not_now(scene, before.this, step, now=before.now, until=before.ask.window)


def _is_member(name: str, instance: Instance) -> bool:
    """Return whether a name is that of another member of the instance's component."""
    other = Instance.parse(name)
    return other != instance and other.component == instance.component


# Going on


def _start_load(before: Before, step: Step) -> Hold | None:
    fault = material_fault(before.scene, step.instance)
    expected = "%s holds its material" % step.instance.name
    return refuted(fails("presented", expected, fault, "material")) if fault else None


def _start_permit(before: Before, step: Step) -> Hold | None:
    held = _start_load(before, step)
    fault = lacks_variable(before.scene, step.instance)
    if held or not fault:
        return held
    return refuted(fails("presented", "%s has its environment" % step.instance.name, fault, "environment"))


def _start_connect(before: Before, step: Step) -> Hold | None:
    """Ask all members that the client dials: one without TLS would be no standby for it."""
    scene = before.scene
    flips = scene.shape(scene.model.pair(step.pairs[0])) == "flip"
    gates = ("trusted", "presented") if flips else ("trusted", "presented", "permissive")
    for pair in _dialled(scene, step):
        if pair.blocked:
            continue
        found = (
            unreachable(scene, pair)
            or next((evidence for evidence in (GATES[gate](scene, pair) for gate in gates) if not evidence.holds), None)
            or not_passed_on(scene, pair)
        )
        if found is not None:
            return refuted(found, of=pair.id)
    return _closes_its_own(before, step)


def _closes_its_own(before: Before, step: Step) -> Hold | None:
    """Return who would be cut off by a member that refuses plaintext as soon as it uses TLS itself; None if nobody."""
    scene = before.scene
    links = [pair for pair in map(scene.model.pair, step.pairs) if closes_itself(scene, pair)]
    survey = Survey(scene, before.ask)
    for name in sorted({pair.listener.name for pair in links}):
        for pair in scene.model.pairs_of_listener(step.instance.name, name):
            held = None if pair.link else _not_switched(survey, pair)
            if held:
                return held
    return strangers(scene, step.instance, sorted({pair.listener.name for pair in links}), before.watched)


def _dialled(scene: Scene, step: Step) -> list[Pair]:
    """Return the pairs of the step's client with all members of the servers that it dials; flips move one by one."""
    mine = [scene.model.pair(name) for name in step.pairs]
    if scene.shape(mine[0]) == "flip":
        return mine
    dialled = {(pair.server.component, pair.listener.name) for pair in mine}
    of_client = scene.model.pairs_of_client(step.instance.name)
    return [pair for pair in of_client if (pair.server.component, pair.listener.name) in dialled]


def _start_demand(before: Before, step: Step) -> Hold | None:
    survey = Survey(before.scene, before.ask)
    for pair in _of_cluster(before.scene, step):
        held = _not_switched(survey, pair)
        if held:
            return held
    for pair in _clients(before.scene, step):
        held = _not_switched(survey, pair) or _not_presenting(before.scene, pair)
        if held and held.evidence.fault == "unexercised" and step.target in before.watched:
            held = _would_not_present(before.scene, pair)  # it was waited for, and did not connect meanwhile
        if held:
            return held
    return _still_in_the_clear(before, survey, step)


def _still_in_the_clear(before: Before, survey: Survey, step: Step) -> Hold | None:
    """Return who may still use plaintext, where demanding certificates ends it as well."""
    closed = [pair for pair in _clients(before.scene, step) if ends_plaintext(before.scene, "demand", pair)]
    for pair in closed:
        unexercised = survey.unexercised(pair)
        if unexercised is not None:
            return refuted(unexercised)
    names = sorted({pair.listener.name for pair in closed})
    return strangers(before.scene, step.instance, names, before.watched)


def _start_enforce(before: Before, step: Step) -> Hold | None:
    scene = before.scene
    clients = _clients(scene, step)
    if scene.shape(clients[0]) == "flip":
        held = next((each for each in (_not_in_the_flip(before, pair) for pair in clients) if each), None)
        return held or strangers(scene, step.instance, step.of, before.watched)
    survey = Survey(scene, before.ask)
    for pair in _of_cluster(scene, step):
        held = _not_switched(survey, pair)
        if held:
            return held
    for pair in clients:
        held = _not_switched(survey, pair)
        if held:
            return held
        unexercised = survey.unexercised(pair)
        if unexercised is not None:
            return refuted(unexercised)
        if pair.mode == "mutual" and not GATES["demanded"](scene, pair).holds:
            return refuted(GATES["demanded"](scene, pair), of=pair.id)
    return strangers(scene, step.instance, step.of, before.watched)


def _not_in_the_flip(before: Before, pair: Pair) -> Hold | None:
    """Return why a client of a listener that flips would be cut off by it."""
    scene, expected = before.scene, "every client of %s moves with it" % pair.server.name
    if pair.blocked:
        return waiting("enforced", expected, "%s is blocked: %s" % (pair.id, pair.blocked))
    lost = unreachable(scene, pair)
    if lost is not None:
        return refuted(lost, of=pair.id)
    for gate in ("trusted", "presented"):
        evidence = GATES[gate](scene, pair)
        if not evidence.holds:
            return refuted(evidence, of=pair.id)
    if not scene.ours(pair.client):
        seen = "%s is not ours, and cannot be moved in one round with it" % pair.client.component
        todo = "agree with %s on a moment, set both ends by hand, and run again" % scene.model.owner_of(pair.client)
        return waiting("enforced", expected, seen, todo=todo, of=pair.id)
    moves = any(step.stage == "connect" and pair.id in step.pairs for step in before.this.steps)
    if moves or setting(scene, "connect", pair).is_made:
        return None
    seen = "%s does not, for this run may not change %s" % (pair.id, pair.client.host)
    return waiting("enforced", expected, seen, todo="run again without --limit and tls_scope", of=pair.id)


def _not_switched(survey: Survey, pair: Pair) -> Hold | None:
    expected = "every client of %s is on TLS" % pair.server.name
    if pair.blocked:
        return waiting("enforced", expected, "%s is blocked: %s" % (pair.id, pair.blocked))
    if rank(survey.stage(pair)) >= rank("switched"):
        return None
    last = survey.evidence(pair)[-1]
    return waiting("enforced", expected, "%s is not: %s" % (pair.id, last.seen), todo=last.todo, of=pair.id)


def _not_presenting(scene: Scene, pair: Pair) -> Hold | None:
    """Return that the client was not seen presenting a certificate, if so; a standby that sleeps is not asked."""
    if is_asleep(scene, pair):
        return None
    expected = "%s presents a certificate that %s accepts" % (pair.client.name, pair.server.name)
    todo = "have %s present its certificate" % pair.client.name
    probe = scene.front(pair) if pair.fronted else scene.tls(pair)
    if scene.ours(pair.client) and probe.security != "mutual":
        seen = probe.reason or "it was not asked for one"
        return waiting("demanded", expected, seen, todo=todo, of=pair.id)
    if scene.seen(pair.server).sessions is None:
        unreadable = scene.seen(pair.server).unreadable.get("sessions")
        if unreadable:
            return waiting("demanded", expected, unreadable, todo="make its list of sessions readable", of=pair.id)
        return _would_not_present(scene, pair)
    # what passes sessions on hides whose each is: all of them have to present one then
    listed = presented_by(scene, pair) or presented_perhaps(scene, pair)
    if listed and all(session.verified is None for session in listed):
        return _would_not_present(scene, pair)  # its server does not say
    without = [session for session in listed if not (session.verified or session.ended)]
    if any(session.verified for session in listed) and not without:
        return None
    without = without or listed
    if without:
        return waiting("demanded", expected, "its session %s presents none" % without[0].peer, todo=todo, of=pair.id)
    seen, todo = "no session of it was seen", "let it connect, and run again"
    return waiting("demanded", expected, seen, todo=todo, of=pair.id, fault="unexercised")


def _would_not_present(scene: Scene, pair: Pair) -> Hold | None:
    """Return why nobody can tell that the client will present a certificate, where no session of it was seen.

    Its own identity was accepted in a probe from its host, which the caller has seen, and its account can read the key
    (gate ``presented``). It will present that one if its configuration, which its process has taken (gate
    ``switched``), names it.
    """
    expected = "%s presents a certificate that %s accepts" % (pair.client.name, pair.server.name)
    if not scene.ours(pair.client):  # of its configuration nothing is known
        seen, todo = "no session of it that presents one was seen", "name what lists sessions in `sessions`"
        if scene.seen(pair.server).sessions is not None:
            todo = "ask %s to have it connect, and run again" % scene.model.owner_of(pair.client)
        return waiting("demanded", expected, seen, todo=todo, of=pair.id, fault="unexercised")
    paths = scene.paths_in(pair, pair.client)
    named = {word for option in scene.options("connect", pair) for word in _WORDS.findall(option.value or "")}
    if named & {paths[name] for name in ("key", "combined", "keystore", "certificate", "fullchain")}:
        return None
    seen = "no session of it was seen, and none of the options by which it uses TLS names its key"
    todo = "name the option in `connect` of its kind's settings, or let it connect; then run again"
    return waiting("demanded", expected, seen, todo=todo, of=pair.id, fault="unexercised")


_START: t.Final[t.Mapping[str, t.Callable[[Before, Step], Hold | None]]] = {
    "load": _start_load,
    "permit": _start_permit,
    "connect": _start_connect,
    "demand": _start_demand,
    "enforce": _start_enforce,
}


# Going back


def _back_connect(before: Before, step: Step) -> Hold | None:
    """Return that a listener does not answer in the clear, if so: its client would have nowhere to go back to."""
    scene = before.scene
    for name in step.pairs:
        pair = scene.model.pair(name)
        clear = scene.clear(pair)
        stays = before.this.together or closes_itself(scene, pair)  # a member that is not closed joins one that is
        if not stays and clear.outcome != "clear" and not is_asleep(scene, pair):
            expected, seen = "%s answers in the clear" % pair.server.name, clear.reason or "nobody looked"
            return refuted(fails("plain", expected, seen, "clear", todo="open its clear listener first"), of=name)
    return None


def _back_permit(before: Before, step: Step) -> Hold | None:
    """Return which client may still use TLS, if one may: it would be cut off."""
    scene = before.scene
    for pair in _clients(scene, step):
        if pair.blocked:
            continue
        expected = "no client of %s uses TLS any more" % step.instance.name
        found = setting(scene, "connect", pair)
        if pair.client.host in scene.lost or found.unread:
            why = scene.lost.get(pair.client.host) or "nobody read %s" % found.unread[0].place
            seen = "nobody can see whether %s does: %s" % (pair.client.name, why)
            return refuted(fails("switched", expected, seen, "unseen"), of=pair.id)
        kept = step_name(scene, "connect", pair) in scene.seen(pair.client).steps  # it goes back, and has not
        if kept or (found.is_made if found.declared else bool(sessions_of(scene, pair).tls)):
            todo = "take %s back first" % pair.client.name
            return refuted(fails("switched", expected, "%s does" % pair.client.name, "held", todo=todo), of=pair.id)
    return None


_BACK: t.Final[t.Mapping[str, t.Callable[[Before, Step], Hold | None]]] = {
    "permit": _back_permit,
    "connect": _back_connect,
    "demand": lambda before, step: None,
    "enforce": lambda before, step: None,
}


def _of_cluster(scene: Scene, step: Step) -> list[Pair]:
    """Return the pairs of other members of the step's cluster: none is closed before all have got there."""
    return [
        pair for name in step.of for pair in unit_of(scene.model, step.instance, name) if pair.server != step.instance
    ]


def _clients(scene: Scene, step: Step) -> list[Pair]:
    """Return every enumerated pair of the listeners that the step moves, in scope or not."""
    return [pair for name in step.of for pair in scene.model.pairs_of_listener(step.instance.name, name)]
