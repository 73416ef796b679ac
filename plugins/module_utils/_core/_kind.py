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
from ._errors import TlsError
from ._masked import MASK, is_secret, masked_value
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

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


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
        return MASK if is_secret(self.key) else "%r" % masked_value(self.key, value)


@dataclass(frozen=True)
class InstanceKind:
    """A kind with the settings of one instance put in.

    ``makes`` has the modes of files that are made where they are missing, and ``effects`` what other programs that read
    a file are told once it has changed. ``usages`` are what identities of its instances are issued for besides what
    they are used for in enumerated connections; ``restarts`` are the stages of the steps that restart its process
    although ``apply`` is ``reload``, and ``systems`` the operating systems on which the kind was built.
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
    systems: tuple[str, ...] = ("linux",)
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
    "systems": (list, ["linux"]),
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

TYPES: t.Final[t.Mapping[str, type | tuple[type, ...]]] = {
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
        if extra or row.get("type", "any") not in TYPES:
            raise KindError(
                "%s: setting %r of tls_kind has %r; a setting has type (%s), required, default, choices and description"
                % (source, key, extra[0] if extra else row.get("type"), ", ".join(sorted(TYPES)))
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
        is_empty = filled.get("value") == "" and PLACEHOLDER.fullmatch(str(row["value"]))
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

    return PLACEHOLDER.sub(word, value) if isinstance(value, str) else value


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
        for name in PLACEHOLDER.findall(value):
            if name not in settings and name not in CONTEXT:
                raise KindError("%s: {%s} is neither a setting of this kind nor a word of a step" % (source, name))
