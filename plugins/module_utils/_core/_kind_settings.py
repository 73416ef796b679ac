# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind with the settings of one instance put in, and checked; private to this collection."""

from __future__ import annotations

import re
import typing as t

from ._entities import Limits
from ._environment import LIBRARIES, TARGETS
from ._kind import (
    EDITS,
    FIELDS,
    FORMATS,
    MODES,
    OPTION_FIELDS,
    PLACEHOLDER,
    READ_STAGES,
    SHAPES,
    STEPS,
    TYPES,
    WORKERS,
    InstanceKind,
    Kind,
    KindError,
)
from ._material import USAGES
from ._model import ModelError, parse_limits
from ._option_formats import FORMATS as OPTION_FORMATS

#: What a field of ``tls_kind`` may be, or each entry of one that is a list.
_CHOICES: t.Final[t.Mapping[str, t.Sequence[str]]] = {
    "apply": ("reload", "restart"),
    "edits": EDITS,
    "formats": FORMATS,
    "restarts": STEPS,
    "shape": SHAPES,
    "systems": ("linux", "aix", "solaris"),
    "usages": USAGES,
    "workers": WORKERS,
}
#: Fields that become attributes as they are; lists become tuples.
_AS_THEY_ARE: t.Final = (
    *_CHOICES,
    *("account", "reload", "restart", "process", "environment", "sessions"),
)


def settle(kind: Kind, given: t.Mapping[str, t.Any], *, instance: str, where: str) -> InstanceKind:
    """Return ``kind`` with the settings of one instance put in.

    Args:
        kind: the kind.
        given: what the user set for the instance's component in ``tls_settings``.
        instance: its name, for messages.
        where: the variable that holds ``given``, for messages.

    Raises:
        KindError: a setting that is missing, unknown, of a wrong type or not one of its choices.
    """
    component, _unused, host = instance.partition("@")
    own = {"instance": instance, "component": component, "host": host}
    values = _checked_settings(kind, given, own=own, instance=instance, where=where)
    fields = _checked_fields(kind, {**own, **values}, where=where)
    files = [row for entry in fields["files"] if (row := _file(entry, where=where)) is not None]
    return InstanceKind(
        kind=kind.name,
        role=kind.role,
        files=tuple(str(row["path"]) for row in files),
        makes={row["path"]: row["mode"] for row in files if row.get("mode")},
        effects={row["path"]: row["then"] for row in files if row.get("then")},
        test=tuple(str(part) for part in fields["test"]),
        interruption=float(fields["interruption"]),
        limited=_limits(fields["limits"], where=where),
        login=_login(fields["login"], where=where),
        reads={stage: _rows(fields["reads"].get(stage), stage=stage, where=where) for stage in READ_STAGES},
        settings=values,
        **{name: _unchangeable(fields[name]) for name in _AS_THEY_ARE},
    )


def _unchangeable(value: t.Any) -> t.Any:
    return tuple(value) if isinstance(value, list) else value


def _checked_fields(kind: Kind, values: t.Mapping[str, t.Any], *, where: str) -> dict[str, t.Any]:
    """Return the fields of ``tls_kind`` with settings put in."""
    fields: dict[str, t.Any] = {}
    for name, (wanted, default) in FIELDS.items():
        value = _put_in(kind.declared.get(name, default), values)
        if value is None and default is not None:
            value = default
        if not isinstance(value, wanted):
            raise KindError("%s: %s of kind %s is %r, which is not what it has to be" % (where, name, kind.name, value))
        fields[name] = value
    for name, choices in _CHOICES.items():
        for entry in fields[name] if isinstance(fields[name], list) else [fields[name]]:
            _check_choice(entry, choices, what=name, where=where)
    _check_environment(fields["environment"], where=where)
    return fields


def _checked_settings(
    kind: Kind, given: t.Mapping[str, t.Any], *, own: t.Mapping[str, str], instance: str, where: str
) -> dict[str, t.Any]:
    unknown = sorted(set(given) - set(kind.settings))
    if unknown:
        raise KindError(
            "%s: %s of kind %s has no setting %r; it has %s"
            % (where, instance, kind.name, unknown[0], ", ".join(sorted(kind.settings)) or "none")
        )
    values = {}
    for setting in kind.settings.values():
        value = given.get(setting.name, setting.default)
        if value is None and setting.required:
            raise KindError("%s: %s of kind %s needs the setting %r" % (where, instance, kind.name, setting.name))
        if value is not None:
            if not isinstance(value, TYPES[setting.type]):
                raise KindError("%s.%s: %r is not of type %s" % (where, setting.name, value, setting.type))
            if setting.type == "path" and not str(value).startswith("/"):
                raise KindError("%s.%s: %r is not an absolute path" % (where, setting.name, value))
            if setting.choices:
                _check_choice(value, setting.choices, what=setting.name, where=where)
        values[setting.name] = value
    defaults = {name: value for name, value in values.items() if given.get(name) is None}
    filled = {name: _put_in(value, own) for name, value in defaults.items()}
    values = {**values, **filled}
    return {**values, **{name: _put_in(value, values) for name, value in filled.items()}}


def _check_choice(value: t.Any, choices: t.Sequence[t.Any], *, what: str, where: str) -> None:
    if value not in choices:
        raise KindError("%s: %s is %r; it is one of %s" % (where, what, value, ", ".join(str(c) for c in choices)))


def _file(entry: t.Any, *, where: str) -> dict[str, t.Any] | None:
    """Return a file that steps may edit, complete; None for one that no setting names."""
    row = dict(entry) if isinstance(entry, dict) else {"path": entry}
    if row.get("path") is None and set(row) == {"path", "then"}:
        return None
    mode, then = str(row.get("mode") or ""), row.get("then") or {}
    is_path = isinstance(row.get("path"), str) and not set(row) - {"path", "mode", "then"}
    if not is_path or (mode and not re.fullmatch("0[0-7]{3}", mode)) or not isinstance(then, dict):
        raise KindError(
            "%s: files has %r; it has paths, or a path with the mode, as text, of a file to make, or with then, how"
            " another program that reads it takes it" % (where, entry)
        )
    return {**row, "mode": mode, "then": then}


def _rows(rows: t.Any, *, stage: str, where: str) -> tuple[t.Mapping[str, t.Any], ...]:
    """Return the options of a stage, each of them complete."""
    checked = []
    flat = [row for entry in rows or [] for row in (entry if isinstance(entry, list) else [entry])]
    for number, row in enumerate(flat):
        place = "%s.%s[%d]" % (where, stage, number)
        if not isinstance(row, dict) or not row.get("key") or not row.get("file"):
            raise KindError("%s: an option has a file, a key, and a value or 'state: absent'" % place)
        if ("value" in row) == (row.get("state") == "absent"):
            raise KindError("%s: an option has either a value or 'state: absent'" % place)
        unknown = sorted(set(row) - set(OPTION_FIELDS))
        if unknown:
            raise KindError("%s: an option has no field %r" % (place, unknown[0]))
        _check_choice(row.get("mode") or "simple", MODES, what="mode", where=place)
        _check_choice(row.get("format") or "ini", OPTION_FORMATS, what="format", where=place)
        checked.append(row)
    return tuple(checked)


def _check_environment(asked: t.Mapping[str, t.Any], *, where: str) -> None:
    """Refuse an environment that names nothing to set it in, or libraries that nobody knows."""
    if not asked:
        return
    known = {"target", "path", "unit", "unit_directory", "libraries", "variables", "paths"}
    unknown = sorted(set(asked) - known)
    if unknown:
        raise KindError("%s.environment has no %r; it has %s" % (where, unknown[0], ", ".join(sorted(known))))
    _check_choice(asked.get("target"), tuple(TARGETS), what="environment.target", where=where)
    libraries = tuple(sorted({row.library for row in LIBRARIES}))
    for library in asked.get("libraries") or ():
        _check_choice(library, libraries, what="environment.libraries", where=where)


def _login(login: t.Mapping[str, t.Any], *, where: str) -> t.Mapping[str, t.Any]:
    """Return as whom gates introduce themselves; there is no password, for they do not log in.

    Clients may have logins of their own, by component.
    """
    clients = login.get("clients") or {}
    own = {name: value for name, value in login.items() if name != "clients"}
    for row in (own, *clients.values()):
        if not isinstance(row, dict) or set(row) - {"user", "database", "replication"}:
            raise KindError("%s: a login is %r; it has user, database and replication" % (where, row))
    return {**own, "clients": clients}


def _limits(limits: t.Mapping[str, t.Any], *, where: str) -> Limits:
    try:
        return parse_limits(limits, "limits")
    except ModelError as error:
        raise KindError("%s: %s" % (where, "; ".join(str(error).splitlines()))) from error


def _put_in(value: t.Any, settings: t.Mapping[str, t.Any]) -> t.Any:
    """Put settings in; a value that is nothing but a placeholder becomes the setting itself, lists and all."""
    if isinstance(value, dict):
        if set(value) == {"each", "with"}:
            return [{**_put_in(value["with"], settings), **row} for row in _put_in(value["each"], settings) or []]
        return {key: _put_in(part, settings) for key, part in value.items()}
    if isinstance(value, list):
        return [_put_in(part, settings) for part in value]
    if not isinstance(value, str):
        return value
    whole = PLACEHOLDER.fullmatch(value)
    if whole and whole.group(1) in settings:
        return settings[whole.group(1)]
    return PLACEHOLDER.sub(lambda m: str(settings[m.group(1)]) if m.group(1) in settings else m.group(0), value)
