# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind declares, and how its words become those of one instance; private to this collection.

A kind's ``tls_kind`` is a literal: no templates. Where a value of it depends on the instance it holds placeholders in
braces. Names of settings (``{config}``) are put in once per instance by :func:`settle`; names that depend on the
listener or the pair at hand (``{secure_port}``, ``{trust}``) stay, and :func:`expand` puts them in per step.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ._entities import Limits
from ._environment import LIBRARIES, TARGETS
from ._errors import TlsError
from ._masked import MASK, is_secret
from ._material import USAGES
from ._model import ModelError, parse_limits
from ._option_formats import FORMATS as OPTION_FORMATS
from ._profile import PROFILES

if t.TYPE_CHECKING:
    from ._steps import Step

Shape = t.Literal["second_listener", "same_port", "flip"]
MODES: t.Final = ("simple", "mutual")
SHAPES: t.Final = ("second_listener", "same_port", "flip")
#: Stages whose options are read back; ``verify`` is only read: it says that a client checks what it is shown.
READ_STAGES: t.Final = ("permit", "connect", "verify", "demand", "enforce")
STEPS: t.Final = ("permit", "connect", "demand", "enforce")
FORMATS: t.Final = ("pem", "combined", "pkcs12", "java", "crl")
#: Who edits in a step: the entry point of the kind's role, or the framework, which sets the options that ``reads`` has.
EDITS: t.Final = ("tasks", "options")
#: Fields of an option; ``mode`` has it asked for at listeners of that mode alone.
OPTION_FIELDS: t.Final = ("file", "format", "section", "key", "value", "state", "separator", "like", "mode")

#: What a reload does with the processes below the main one; replaced ones may answer for a moment longer.
WORKERS: t.Final = ("kept", "replaced")

#: Placeholders that are known only per listener or pair; every other one must be a setting of the kind.
CONTEXT: t.Final = frozenset(
    [
        "instance",
        "host",
        "component",
        "listener",
        "mode",
        "port",
        "secure_port",
        "address",
        "server",
        "server_host",
        "client",
        "dial",
        "certificate",
        "chain",
        "fullchain",
        "key",
        "combined",
        "trust",
        "number",
        "keystore",
        "keystore_password_file",
        "truststore",
        *PROFILES["intermediate"].words(),
    ]
)

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class KindError(TlsError):
    """A kind, or the settings of an instance of it, cannot be used as written."""


@dataclass(frozen=True)
class Setting:
    """One setting that a kind lets its users make in ``tls_settings``; its default may name others in braces."""

    name: str
    type: str = "any"
    required: bool = False
    default: t.Any = None
    choices: tuple[t.Any, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind as its role's ``vars/main.yml`` declares it."""

    name: str
    role: str
    source: str
    settings: t.Mapping[str, Setting]
    declared: t.Mapping[str, t.Any]

    @property
    def needs_settings(self) -> bool:
        """Whether its users have to say something before it can be used."""
        return any(each.required for each in self.settings.values())


@dataclass(frozen=True)
class Option:
    """One option in a configuration file: what observation reads and what a step writes.

    ``value`` None means that the option is absent. ``like`` names the section of which its own is made as a copy, where
    that is missing.
    """

    file: str
    format: str
    section: str
    key: str
    value: str | None
    separator: str | None = None
    like: str | None = None

    @property
    def place(self) -> str:
        """Where the option stands, for a user."""
        return "%s%s %s" % (self.file, " [%s]" % self.section if self.section else "", self.key)

    @property
    def shown(self) -> str:
        """The value that it should have, as a message may show it."""
        return "absent" if self.value is None else self.masked(self.value)

    def masked(self, value: str) -> str:
        """Return a value of this option as a message may show it."""
        return MASK if is_secret(self.key) else "%r" % value


@dataclass(frozen=True)
class InstanceKind:
    """A kind with the settings of one instance put in.

    ``makes`` has the modes of files that are made where they are missing, and ``effects`` what other programs that read
    a file are told once it has changed. ``usages`` are what identities of its instances are issued for besides what
    they are used for in enumerated connections; ``restarts`` are the stages of the steps that restart its process
    although ``apply`` is ``reload``.
    """

    kind: str
    role: str
    shape: Shape
    formats: tuple[str, ...] = ("pem",)
    account: str | None = None
    files: tuple[str, ...] = ()
    makes: t.Mapping[str, str] = field(default_factory=dict)
    effects: t.Mapping[str, t.Mapping[str, t.Any]] = field(default_factory=dict)
    test: tuple[str, ...] = ()
    reload: t.Mapping[str, t.Any] = field(default_factory=dict)
    restart: t.Mapping[str, t.Any] = field(default_factory=dict)
    apply: str = "reload"
    restarts: tuple[str, ...] = ()
    workers: str = "kept"
    edits: str = "tasks"
    usages: tuple[str, ...] = ()
    process: t.Mapping[str, t.Any] = field(default_factory=dict)
    interruption: float = 0.0
    limited: Limits = field(default_factory=Limits)
    environment: t.Mapping[str, t.Any] = field(default_factory=dict)
    sessions: t.Mapping[str, t.Any] = field(default_factory=dict)
    login: t.Mapping[str, t.Any] = field(default_factory=dict)
    reads: t.Mapping[str, tuple[t.Mapping[str, t.Any], ...]] = field(default_factory=dict)
    settings: t.Mapping[str, t.Any] = field(default_factory=dict)

    def how(self, step: Step) -> str:
        """Return what makes a step take effect: ``reload`` or ``restart``."""
        if (step.apply == "restart" and self.restart) or step.stage in self.restarts:
            return "restart"
        return self.apply

    def cuts(self, step: Step) -> float:
        """Return the seconds for which a step may cut clients off; where some stages restart, the others do not."""
        return 0.0 if self.restarts and self.how(step) == "reload" else self.interruption


#: Fields of ``tls_kind``: name -> (what it must be, after settings are put in; default).
FIELDS: t.Final[t.Mapping[str, tuple[type | tuple[type, ...], t.Any]]] = {
    "shape": (str, "second_listener"),
    "formats": (list, ["pem"]),
    "account": ((str, type(None)), None),
    "files": (list, []),
    "test": (list, []),
    "reload": (dict, {}),
    "restart": (dict, {}),
    "apply": (str, "reload"),
    "restarts": (list, []),
    "workers": (str, "kept"),
    "edits": (str, "tasks"),
    "usages": (list, []),
    "process": (dict, {}),
    "interruption": ((int, float), 0),
    "limits": (dict, {}),
    "environment": (dict, {}),
    "sessions": (dict, {}),
    "login": (dict, {}),
    "reads": (dict, {}),
}

_TYPES: t.Final[t.Mapping[str, type | tuple[type, ...]]] = {
    "any": object,
    "str": str,
    "path": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
}


def parse_kind(name: str, *, role: str, source: str, declared: t.Mapping[str, t.Any]) -> Kind:
    """Return the kind that ``declared`` describes.

    Args:
        name: the kind's name, as components use it.
        role: name under which Ansible finds the role.
        source: file that it was read from, for messages.
        declared: the literal ``tls_kind``.

    Raises:
        KindError: an unknown field, or a setting that is not described as a setting.
    """
    unknown = sorted(set(declared) - set(FIELDS) - {"settings"})
    if unknown:
        raise KindError(
            "%s: tls_kind has no field %r; it knows %s" % (source, unknown[0], ", ".join(sorted([*FIELDS, "settings"])))
        )
    settings = {}
    for key, row in (declared.get("settings") or {}).items():
        extra = sorted(set(row) - {"type", "required", "default", "choices", "description"})
        if extra or row.get("type", "any") not in _TYPES:
            raise KindError(
                "%s: setting %r of tls_kind has %r; a setting has type (%s), required, default, choices and description"
                % (source, key, extra[0] if extra else row.get("type"), ", ".join(sorted(_TYPES)))
            )
        settings[key] = Setting(
            name=key,
            type=row.get("type", "any"),
            required=bool(row.get("required", False)),
            default=row.get("default"),
            choices=tuple(row.get("choices", ())),
        )
    _refuse_unknown_placeholders(declared, settings, source=source)
    return Kind(name=name, role=role, source=source, settings=settings, declared=dict(declared))


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
    fields: dict[str, t.Any] = {}
    for name, (wanted, default) in FIELDS.items():
        value = _put_in(kind.declared.get(name, default), {**own, **values})
        if value is None and default is not None:
            value = default
        if not isinstance(value, wanted):
            raise KindError("%s: %s of kind %s is %r, which is not what it has to be" % (where, name, kind.name, value))
        fields[name] = value
    _check_choice(fields["shape"], SHAPES, what="shape", where=where)
    _check_choice(fields["apply"], ("reload", "restart"), what="apply", where=where)
    for entry in fields["restarts"]:
        _check_choice(entry, STEPS, what="restarts", where=where)
    _check_choice(fields["workers"], WORKERS, what="workers", where=where)
    _check_choice(fields["edits"], EDITS, what="edits", where=where)
    for entry in fields["formats"]:
        _check_choice(entry, FORMATS, what="formats", where=where)
    for entry in fields["usages"]:
        _check_choice(entry, USAGES, what="usages", where=where)
    files = [row for entry in fields["files"] if (row := _file(entry, where=where)) is not None]
    reads = {stage: _rows(fields["reads"].get(stage), stage=stage, where=where) for stage in READ_STAGES}
    _check_environment(fields["environment"], where=where)
    return InstanceKind(
        kind=kind.name,
        role=kind.role,
        shape=fields["shape"],
        formats=tuple(fields["formats"]),
        account=fields["account"],
        files=tuple(str(row["path"]) for row in files),
        makes={row["path"]: row["mode"] for row in files if row.get("mode")},
        effects={row["path"]: row["then"] for row in files if row.get("then")},
        test=tuple(str(part) for part in fields["test"]),
        reload=fields["reload"],
        restart=fields["restart"],
        apply=fields["apply"],
        restarts=tuple(fields["restarts"]),
        workers=fields["workers"],
        edits=fields["edits"],
        usages=tuple(fields["usages"]),
        process=fields["process"],
        interruption=float(fields["interruption"]),
        limited=_limits(fields["limits"], where=where),
        environment=fields["environment"],
        sessions=fields["sessions"],
        login=_login(fields["login"], where=where),
        reads=reads,
        settings=values,
    )


def expand(rows: t.Sequence[t.Mapping[str, t.Any]], context: t.Mapping[str, t.Any]) -> tuple[Option, ...]:
    """Return the options of one stage with a listener's or a pair's words put in, without those of another mode.

    Raises:
        KindError: an option asks for a word that this listener or pair does not have, such as its secure port.
    """
    options = []
    for row, words in _numbered(rows, context):
        if row.get("mode") not in (None, context.get("mode")):
            continue
        filled = {key: _fill(value, words, row) for key, value in row.items()}
        # a list of suites of a version that is not offered is empty: nothing is said of it
        is_empty = filled.get("value") == "" and _PLACEHOLDER.fullmatch(str(row["value"]))
        absent = filled.get("state") == "absent" or bool(is_empty)
        options.append(
            Option(
                file=str(filled["file"]),
                format=str(filled.get("format") or "ini"),
                section=str(filled.get("section") or ""),
                key=str(filled["key"]),
                value=None if absent else _text(filled.get("value")),
                separator=filled.get("separator"),
                like=filled.get("like"),
            )
        )
    return tuple(options)


def _numbered(
    rows: t.Iterable[t.Mapping[str, t.Any]], context: t.Mapping[str, t.Any]
) -> t.Iterator[tuple[t.Mapping[str, t.Any], t.Mapping[str, t.Any]]]:
    """Yield each row with its words; one of which the key has a number is one row for each part of its list."""
    for row in rows:
        if "{number}" not in str(row["key"]):
            yield row, context
            continue
        parts = re.split(r"[:,\s]+", str(_fill(row.get("value"), context, row)).strip(":, "))
        for number, part in enumerate(filter(None, parts), start=1):
            yield {**row, "value": part}, {**context, "number": number}


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
            if not isinstance(value, _TYPES[setting.type]):
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
    whole = _PLACEHOLDER.fullmatch(value)
    if whole and whole.group(1) in settings:
        return settings[whole.group(1)]
    return _PLACEHOLDER.sub(lambda m: str(settings[m.group(1)]) if m.group(1) in settings else m.group(0), value)


def _fill(value: t.Any, context: t.Mapping[str, t.Any], row: t.Mapping[str, t.Any]) -> t.Any:
    def word(match: re.Match[str]) -> str:
        name = match.group(1)
        if context.get(name) is None:
            if name in CONTEXT:
                raise KindError(
                    "option %s asks for {%s}, which this listener or pair does not have" % (row["key"], name)
                )
            return match.group(0)
        return str(context[name])

    return _PLACEHOLDER.sub(word, value) if isinstance(value, str) else value


def _text(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _refuse_unknown_placeholders(value: t.Any, settings: t.Mapping[str, Setting], *, source: str) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            if key != "settings":
                _refuse_unknown_placeholders(part, settings, source=source)
    elif isinstance(value, list):
        for part in value:
            _refuse_unknown_placeholders(part, settings, source=source)
    elif isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            if name not in settings and name not in CONTEXT:
                raise KindError("%s: {%s} is neither a setting of this kind nor a word of a step" % (source, name))
