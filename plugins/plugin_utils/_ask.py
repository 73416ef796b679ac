# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody asked of a run, read from Ansible's variables; private to this collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ..module_utils._core._entities import Model
from ..module_utils._core._errors import TlsError
from ..module_utils._core._evidence import Evidence
from ..module_utils._core._scene import Scene
from ..module_utils._core._soak import DAY
from ..module_utils._core._stages import MOVES_TO, STAGES, rank
from ..module_utils._core._survey import BACK, Ask, Survey
from ..module_utils._core._window import allowed_until

#: Days for which the peers of a clear listener are collected before it is enforced.
SOAK: t.Final = 7.0
#: Seconds for which they are watched in the gate.
WATCH: t.Final = 5.0
UNTIL: t.Final = "switched"
#: Days for which what steps kept stays once all of their pairs are enforced: the life of a certificate by default, in
#: which every identity has been renewed once, and seen in use.
KEEP_STEPS: t.Final = 90
#: What a run can be for, and which of that changes hosts.
GOALS: t.Final = ("plan", "rollout", "verify", "rollback", "report")
ACTING: t.Final = ("rollout", "rollback")

#: What molecule skips in every playbook that it runs (its provisioner/ansible_playbook.py); no task of ours has such a
#: tag, and a kind of somebody's that has one asked for it.
MOLECULE_SKIPS: t.Final = frozenset({"molecule-idempotence-notest", "molecule-notest", "notest"})

Variables = t.Mapping[str, t.Any]


def refuse_partial_runs(task_vars: Variables, *, strategy: str) -> None:
    """Refuse what would make Ansible run a part of a run, or in another order.

    Raises:
        TlsError: ``--tags``, ``--skip-tags``, a ``--limit`` without localhost, or a strategy other than linear.
    """
    tags = list(task_vars.get("ansible_run_tags") or ["all"])
    if tags not in (["all"], ["always"]) or set(task_vars.get("ansible_skip_tags") or []) - MOLECULE_SKIPS:
        raise TlsError(
            "--tags and --skip-tags would leave steps out of their order; say how far with -e tls_until=<stage>"
            " and what with -e tls_scope=<wave, component or connection>"
        )
    limit = task_vars.get("ansible_limit")
    if limit and not _keeps_localhost(str(limit), task_vars.get("groups") or {}):
        raise TlsError(
            "--limit %s leaves localhost out, where plan, store and ledger are; name localhost in it as well"
            " (--limit '%s,localhost')" % (limit, limit)
        )
    if strategy.rpartition(".")[2] not in ("linear", "debug"):
        raise TlsError("strategy %s runs hosts out of step; rounds need the strategy linear" % strategy)


def _keeps_localhost(limit: str, groups: Variables) -> bool:
    """Return whether a pattern names localhost, or a group that holds it."""
    parts = {part.strip() for part in limit.replace(":", ",").split(",")}
    return bool({"localhost", "127.0.0.1"} & parts) or any("localhost" in groups.get(part, ()) for part in parts)


def allowed_hosts(task_vars: Variables) -> frozenset[str] | None:
    """Return the hosts that ``--limit`` leaves; None if there is no limit."""
    if not task_vars.get("ansible_limit"):
        return None
    return frozenset(str(name) for name in task_vars.get("ansible_play_hosts_all") or ()) - {"localhost"}


def looks_at_hosts(task_vars: Variables) -> bool:
    """Return whether hosts are looked at (``tls_observe``), or the plan is made from the ledger alone."""
    return flag(task_vars.get("tls_observe", True), "tls_observe")


def named_pairs(value: t.Any, model: Model) -> frozenset[str] | None:
    """Return the ids of the pairs that ``tls_scope`` names; None for the default, the next unfinished wave.

    Args:
        value: ``all``, a wave (``2``, ``wave 2``), a component, a connection (``client->server.listener``), a pair,
            or a list of these.
        model: the model.

    Raises:
        TlsError: it names nothing that is enumerated.
    """
    if value is None or value == "":
        return None
    parts = [str(part) for part in value] if isinstance(value, (list, tuple)) else [str(value)]
    found: set[str] = set()
    for part in parts:
        ids = {pair.id for pair in model.pairs if _is_named(part.strip(), pair)}
        if not ids:
            waves = ", ".join(str(wave) for wave in sorted({pair.wave for pair in model.pairs}))
            raise TlsError(
                "tls_scope: %r is neither all, a wave (%s), a component nor a connection of the model;"
                " connsec.tls.enumerate lists them" % (part, waves)
            )
        found |= ids
    return frozenset(found)


def _is_named(part: str, pair: t.Any) -> bool:
    return part in (
        "all",
        str(pair.wave),
        "wave %d" % pair.wave,
        "wave%d" % pair.wave,
        pair.id,
        pair.client.component,
        pair.server.component,
        "%s->%s.%s" % (pair.client.component, pair.server.component, pair.listener.name),
        pair.connection.name,
    )


def read_ask(task_vars: Variables, *, goal: str, model: Model, now: float) -> Ask:
    """Return what was asked for: scope (all pairs, where none is named), stage to stop at, hosts, watch and soak.

    ``now`` is this moment, from which ``tls_window`` counts.

    Raises:
        TlsError: a variable that is not what it has to be.
    """
    if goal in (*ACTING, "verify") and not looks_at_hosts(task_vars):
        raise TlsError("tls_observe=false plans from the ledger alone; a %s has to look: leave it out" % goal)
    if goal == "rollback" and not task_vars.get("tls_scope"):
        raise TlsError("say what goes back: tls_scope=<wave, component or connection>, or tls_scope=all")
    until = str(task_vars.get("tls_until", UNTIL))
    if until not in STAGES or until == "plain":
        raise TlsError("tls_until: %r is no stage to go to; it is one of %s" % (until, ", ".join(STAGES[1:])))
    if goal in ("verify", "report") and "tls_until" not in task_vars:
        until = "enforced"
    named = named_pairs(task_vars.get("tls_scope"), model)
    return Ask(
        scope=named if named is not None else frozenset(pair.id for pair in model.pairs),
        until=until,
        hosts=allowed_hosts(task_vars),
        watch=_number(task_vars, "tls_watch", WATCH, most=366 * DAY, unit="seconds between 0 and a year"),
        soak=_number(task_vars, "tls_soak", SOAK, most=366, unit="days between 0 and 366") * DAY,
        window=allowed_until(str(task_vars["tls_window"]), now=now) if task_vars.get("tls_window") else 0.0,
        by_wave=named is None,
        back=stages_back(task_vars.get("tls_take_back")) if goal == "rollback" else BACK,
    )


def stages_back(value: t.Any) -> tuple[str, ...]:
    """Return the stages of the steps that ``tls_take_back`` names by what they reached; all of them by default.

    Raises:
        TlsError: it names something that no step reaches.
    """
    if value is None or value == "":
        return BACK
    names = [str(part) for part in value] if isinstance(value, (list, tuple)) else str(value).split(",")
    steps = {reached: stage for stage, reached in MOVES_TO.items()}
    strange = [name.strip() for name in names if name.strip() not in steps]
    if strange:
        raise TlsError(
            "tls_take_back: %r is nothing that can be taken back; it is one or several of %s"
            % (strange[0], ", ".join(steps))
        )
    wanted = {steps[name.strip()] for name in names}
    return tuple(stage for stage in BACK if stage in wanted)


def keep_steps(task_vars: Variables) -> float:
    """Return for how many days what steps kept stays once all of their pairs are enforced (``tls_keep_steps``).

    Raises:
        TlsError: that is no number of days.
    """
    value = task_vars.get("tls_keep_steps", KEEP_STEPS)
    try:
        days = float(value)
    except (TypeError, ValueError):
        days = -1.0
    if not 0 <= days <= 36525:
        raise TlsError("tls_keep_steps: %r is not a number of days between 0 and a hundred years" % (value,))
    return days


def next_wave(scene: Scene, ask: Ask) -> frozenset[str]:
    """Return the pairs of the first unfinished wave, and of those before it, where only drift can be due.

    A pair that the ledger has further than it is seen now has drifted; it makes no wave unfinished.
    """
    evidence: dict[str, tuple[Evidence, ...]] = {}
    for wave in sorted({pair.wave for pair in scene.model.pairs}):
        scope = frozenset(pair.id for pair in scene.model.pairs if pair.wave <= wave)
        survey = Survey(scene, dataclasses.replace(ask, scope=scope), evidence)
        for pair in scene.model.pairs:
            if pair.id not in scope or pair.blocked:
                continue
            if survey.evidence(pair)[-1].fault == "theirs":
                continue  # nothing of ours is due for it, and its owner may take months
            recorded = rank(scene.recorded.get(pair.id, "plain"))
            goal = rank(survey.furthest(pair))
            if rank(survey.stage(pair)) < goal and recorded < goal:
                return scope
    return ask.scope


def _number(task_vars: Variables, name: str, default: float, *, most: float, unit: str) -> float:
    value = task_vars.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= most:
        raise TlsError("%s: %r is not a number of %s" % (name, value, unit))
    return number


def flag(value: t.Any, name: str) -> bool:
    """Return whether a variable is set; a text may say so as well."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "1"):
        return True
    if str(value).lower() in ("false", "no", "0"):
        return False
    raise TlsError("%s: %r is neither true nor false" % (name, value))
