# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments checked against the real module's own documentation, which lies beside the module that was sent.

The words of refusals follow `Ansible.Basic.cs` of ansible-core 2.19, which checks a module's arguments on a real
host. The twin is stricter in two things: choices are taken letter by letter, and the modules that predate
`Ansible.Basic` (win_acl, win_copy, win_file, win_reg_stat, slurp), which pass over an argument that they do not know,
refuse it here like all others.
"""

from __future__ import annotations

import ast
import functools
import json
import typing as t
from pathlib import Path

import yaml

from . import Failed, Refused

Options = t.Mapping[str, t.Mapping[str, t.Any]]

_TRUE: t.Final = ("true", "yes", "y", "on", "1", "t")
_FALSE: t.Final = ("false", "no", "n", "off", "0", "f")


@functools.cache
def options_of(module: str) -> Options:
    """Return the documented options of the module at this path.

    Raises:
        Refused: nothing documents it.
    """
    base = Path(module).with_suffix("")
    if base.with_suffix(".yml").is_file():
        found = yaml.safe_load(base.with_suffix(".yml").read_text(encoding="utf-8"))["DOCUMENTATION"]
    elif base.with_suffix(".py").is_file():
        found = yaml.safe_load(assigned(base.with_suffix(".py"), "DOCUMENTATION"))
    else:
        raise Refused("the twin checks arguments against a module's documentation; %s has none beside it" % base.name)
    if found.get("extends_documentation_fragment"):
        raise Refused("the twin reads documentation that stands in one file; that of %s uses fragments" % base.name)
    return t.cast(Options, found.get("options") or {})


def assigned(path: Path, name: str) -> str:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return str(ast.literal_eval(node.value))
    raise Refused("the twin checks arguments against a module's documentation; %s has no %s" % (path.name, name))


def checked(
    module: str, given: t.Mapping[str, t.Any], options: Options, *, combined: t.Collection[str] = ()
) -> dict[str, t.Any]:
    """Return all documented options with the values that the module would see, defaults included.

    Those in ``combined`` take several choices with commas between them.

    Raises:
        Failed: an argument is not as documented.
    """
    names = _by_any_name(options)
    unknown = sorted(name for name in given if name not in names)
    if unknown:
        known = ", ".join(sorted(options))
        raise Failed(
            "Unsupported parameters for (%s) module: %s. Supported parameters include: %s"
            % (module, ", ".join(unknown), known)
        )
    values: dict[str, t.Any] = {}
    for name, value in given.items():
        if values.get(names[name]) is not None:
            raise Failed("%s is given twice, once as its alias" % names[name])
        values[names[name]] = value
    missing = sorted(name for name, option in options.items() if option.get("required") and values.get(name) is None)
    if missing:
        raise Failed("missing required arguments: %s" % ", ".join(missing))
    return {name: _value(name, values.get(name), option, name in combined) for name, option in options.items()}


def _by_any_name(options: Options) -> dict[str, str]:
    names = {name: name for name in options}
    for name, option in options.items():
        names.update(dict.fromkeys(option.get("aliases", ()), name))
    return names


def _value(name: str, value: t.Any, option: t.Mapping[str, t.Any], combined: bool) -> t.Any:
    if value is None:
        value = option.get("default")
    if value is None:
        return None
    kind = option.get("type", "str")
    found = _converted(name, value, kind)
    if kind == "list":
        elements, inner = option.get("elements", "str"), option.get("suboptions")
        found = [_converted(name, each, elements) for each in found]
        if inner:
            found = [checked(name, each, inner) for each in found]
    elif kind == "dict" and option.get("suboptions"):
        found = checked(name, found, option["suboptions"])
    _choose(name, found, option, combined)
    return found


def _choose(name: str, found: t.Any, option: t.Mapping[str, t.Any], combined: bool) -> None:
    choices = option.get("choices")
    if choices is None:
        return
    parts = [part.strip() for part in str(found).split(",")] if combined else [found]
    parts = found if isinstance(found, list) else parts  # Ansible.Basic looks at each element of a list
    if any(part not in choices for part in parts):
        listed = ", ".join(map(str, choices))
        raise Failed("value of %s must be one of: %s. Got no match for: %s" % (name, listed, found))


def _converted(name: str, value: t.Any, kind: str) -> t.Any:
    try:
        return _CONVERTERS[kind](value)
    except (KeyError, TypeError, ValueError) as error:
        message = "argument for %s is of type %s and we were unable to convert to %s" % (
            name,
            type(value).__name__,
            kind,
        )
        raise Failed(message) from error


def _text(value: t.Any) -> str:
    if isinstance(value, (dict, list)):
        raise TypeError
    return str(value)


def _boolean(value: t.Any) -> bool:
    word = _text(value).strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError
    return word in _TRUE


def _list(value: t.Any) -> list[t.Any]:
    if isinstance(value, list):
        return value
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]


def _dict(value: t.Any) -> dict[str, t.Any]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise TypeError
    return found


def _integer(value: t.Any) -> int:
    return int(_text(value))


_CONVERTERS: t.Final[t.Mapping[str, t.Callable[[t.Any], t.Any]]] = {
    "bool": _boolean,
    "dict": _dict,
    "float": lambda value: float(_text(value)),
    "int": _integer,
    "list": _list,
    "path": _text,
    "raw": lambda value: value,
    "str": _text,
}
