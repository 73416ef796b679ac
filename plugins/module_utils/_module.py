# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The border between our values and Ansible's modules; private to this collection."""

from __future__ import annotations

import json
import typing as t

from ._core._masked import masked_value

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ._core._change import Change


def shown(value: t.Any) -> str:
    """Return a diff side as text: text as it is, nothing as an empty side, all else as sorted JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True)
    return text if text.endswith("\n") else text + "\n"


def diff_of(changes: t.Sequence[Change]) -> list[dict[str, str]]:
    """Return what Ansible's --diff prints for these changes."""
    return [
        {
            "before_header": change.target,
            "after_header": "%s (%s)" % (change.target, change.reason),
            "before": shown(change.before),
            "after": shown(change.after),
        }
        for change in changes
    ]


def hide_secrets(module: AnsibleModule, options: t.Iterable[t.Mapping[str, t.Any]]) -> None:
    """Keep the values of options that hold secrets out of the result, which holds the arguments as well."""
    values = ((str(row["key"]), str(row["value"])) for row in options if row.get("value"))
    module.no_log_values.update(value for key, value in values if masked_value(key, value) != value)


def finish(
    module: AnsibleModule,
    changes: t.Sequence[Change],
    *,
    make: t.Callable[[Change], None],
    then: t.Callable[[], None] = lambda: None,
    facts: t.Callable[[], t.Mapping[str, t.Any]] = dict,
) -> t.NoReturn:
    """Make the changes, ``then`` settle them once, and end the module. Only here is check mode asked for.

    Args:
        module: the running module.
        changes: what to do; an empty list ends the module unchanged.
        make: carries one change out.
        then: settles all of them, once.
        facts: further keys of the result, asked for after the changes were made.
    """
    if changes and not module.check_mode:
        for change in changes:
            make(change)
        then()
    module.exit_json(
        changed=bool(changes),
        reasons={change.target: change.reason for change in changes},
        diff=diff_of(changes),
        **facts(),
    )
