# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of connsec.tls.pki as wanted authorities and identities; private to this collection."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ..module_utils._core._material import MaterialRefused, Revocation, WantedAuthority, WantedIdentity
from ..module_utils._core._names import is_ip_address
from ._idna import to_a_label

_Option = t.Mapping[str, t.Any]

_KINDS: t.Mapping[str, tuple[t.Callable[[t.Any], bool], str]] = {
    "str": (lambda value: isinstance(value, str), "text"),
    "int": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "list": (lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value), "a list of text"),
    "dict": (lambda value: isinstance(value, dict), "a dictionary"),
    "dicts": (
        lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
        "a list of dictionaries",
    ),
}
TASK_OPTIONS = {
    "authorities": "dicts",
    "identities": "dicts",
    "generations_seen": "list",
    "held": "dict",
    "requests": "dict",
    "revoke": "dicts",
    "store": "dict",
    "trust_files": "dict",
}
REVOCATION_OPTIONS = {"name": "str", "serial": "str", "issuer": "str", "not_after": "int"}
STORE_OPTIONS = {"path": "str", "authorities": "str", "identities": "str", "ledger": "str", "requests": "str"}
AUTHORITY_OPTIONS = {
    "name": "str",
    "organization": "str",
    "root_days": "int",
    "issuing_days": "int",
    "key_type": "str",
}
IDENTITY_OPTIONS = {
    "name": "str",
    "authority": "str",
    "names": "list",
    "usages": "list",
    "key_type": "str",
    "days": "int",
    "days_reason": "str",
    "formats": "list",
    "common_name": "bool",
    "key_at": "str",
    "issuer": "str",
}


def task_options(arguments: _Option) -> dict[str, t.Any]:
    """Return the options of the task, complete; a batch has thousands of entries, and Ansible's own check is slow."""
    options: dict[str, t.Any] = {name: {} if kind == "dict" else [] for name, kind in TASK_OPTIONS.items()}
    options.update(_checked(arguments, TASK_OPTIONS, where="connsec.tls.pki"))
    options["store"] = _checked(options["store"], STORE_OPTIONS, where="store")
    return options


def wanted_revocations(options: t.Sequence[_Option]) -> list[Revocation]:
    """Return the certificates to revoke."""
    return [Revocation(**each) for each in _all_checked(options, REVOCATION_OPTIONS, where="revoke")]


def wanted_authorities(
    options: t.Sequence[_Option], *, trust_files: t.Mapping[str, t.Any] | None = None
) -> list[WantedAuthority]:
    """Return the authorities that are wanted: the given ones, or the default one where others do not sign either."""
    given = _all_checked(options, AUTHORITY_OPTIONS, where="authorities")
    return [WantedAuthority(**each) for each in given] or ([] if trust_files else [WantedAuthority()])


def wanted_identities(
    options: t.Sequence[_Option], *, authorities: t.Sequence[WantedAuthority]
) -> list[WantedIdentity]:
    """Return the identities that are wanted; names become A-labels, and a lone authority is the default."""
    given = _all_checked(options, IDENTITY_OPTIONS, where="identities")
    return [_wanted(each, authorities) for each in given]


def identity_option(wanted: WantedIdentity) -> dict[str, t.Any]:
    """Return a wanted identity as an option of the task."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(wanted).items()
    }


def _all_checked(options: t.Sequence[_Option], known: t.Mapping[str, str], *, where: str) -> list[dict[str, t.Any]]:
    return [_checked(each, known, where="%s[%d]" % (where, number)) for number, each in enumerate(options)]


def _checked(option: _Option, known: t.Mapping[str, str], *, where: str) -> dict[str, t.Any]:
    checked = {}
    for key, value in option.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = "did you mean %s?" % near[0] if near else "there are %s" % ", ".join(sorted(known))
            raise MaterialRefused("%s: %r is not an option; %s" % (where, key, hint))
        if value is None:
            continue
        fits, what = _KINDS[known[key]]
        if not fits(value):
            raise MaterialRefused("%s.%s: %r is not %s" % (where, key, value, what))
        checked[key] = value
    for key in ("name", "names"):
        if key in known and key not in checked:
            raise MaterialRefused("%s: %s is missing" % (where, key))
    return checked


def _wanted(option: _Option, authorities: t.Sequence[WantedAuthority]) -> WantedIdentity:
    authority = option.get("authority")
    if not authority:
        if len(authorities) != 1:
            raise MaterialRefused(
                "identity %s names no authority, and there are %s; name one"
                % (option["name"], ", ".join(sorted(each.name for each in authorities)) or "none of ours")
            )
        authority = authorities[0].name
    where = "identity %s: names" % option["name"]
    names = tuple(name if is_ip_address(name) else to_a_label(name, where) for name in option["names"])
    sequences = {key: tuple(option[key]) for key in ("usages", "formats") if key in option}
    return WantedIdentity(**{**option, **sequences, "authority": authority, "names": names})
