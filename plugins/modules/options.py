#!/usr/bin/python
# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set options in a text file, all of them in one step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: options
short_description: Set options in a text file, all of them in one step
version_added: 0.1.0
description:
  - Sets, changes or takes out any number of options of one file, in one round trip and with one rename, so that no
    reader ever meets half of them.
  - Every other byte stays as it is, and so do mode and owner. A file that is a link is refused.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Says what would be changed and changes nothing.
    support: full
  diff_mode:
    description: Shows the file before and after; values of options that are named like secrets are masked.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  path:
    description: The file, which must exist.
    type: path
    required: true
  format:
    description: How the file is written.
    type: str
    choices: [ini, conf, properties]
    default: ini
  options:
    description: The options as they are wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      section:
        description: Section of the option, in format V(ini).
        type: str
        default: ""
      key:
        description: Name of the option.
        type: str
        required: true
      value:
        description: Its value; required unless O(options[].state=absent).
        type: str
      separator:
        description: What stands between name and value of a new option; that of its neighbours if it is not given.
        type: str
      state:
        description: Whether the option is to be there.
        type: str
        choices: [present, absent]
        default: present
"""

EXAMPLES = r"""
- name: Have a service listen over TLS as well
  connsec.tls.options:
    path: /etc/router/router.ini
    options:
      - {section: listener.default, key: tls_port, value: "2021"}
      - {section: listener.default, key: certificate, value: /etc/connsec/router/current/fullchain.pem}
"""

RETURN = r"""
reasons:
  description: What was changed, and why, by file, section and option.
  returned: always
  type: dict
  sample: {"/etc/router/router.ini [listener.default] tls_port": "it is not set, planned '2021'"}
"""

import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._change import Change
from ..module_utils._core._errors import TlsError
from ..module_utils._core._options import Setting, edit, read
from ..module_utils._host._files import FilesError, read_file, sweep, write_file
from ..module_utils._module import finish

SUBOPTIONS = {
    "section": {"type": "str", "default": ""},
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str"},
    "separator": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
_SECRET = re.compile(r"(?i)pass|secret|token|credential")


def wanted(rows: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Setting]:
    """Return the options that were asked for.

    Raises:
        TlsError: one has neither a value nor C(state: absent).
    """
    settings = []
    for row in rows:
        if (row["value"] is None) == (row["state"] == "present"):
            raise TlsError("option %s has either a value or state: absent" % row["key"])
        settings.append(Setting(row["section"], row["key"], row["value"], row["separator"]))
    return settings


def plan(path: str, text: str, form: str, settings: t.Sequence[Setting]) -> t.List[Change]:
    """Return a change for each option that is not as it is wanted."""
    changes = []
    for setting in settings:
        found = read(text, form, setting.section, setting.key)
        if found != setting.value:
            target = "%s%s %s" % (path, " [%s]" % setting.section if setting.section else "", setting.key)
            secret = bool(_SECRET.search(setting.key))
            before, after = ("(masked)" if secret and value is not None else value for value in (found, setting.value))
            reason = "it is %s, planned %s" % (_said(before), _said(after))
            changes.append(Change(target, before, after, reason))
    return changes


def _said(value: t.Optional[str]) -> str:
    return "not set" if value is None else "%r" % value


def main() -> None:
    """Read the file, decide, write it once, and tell."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "format": {"type": "str", "choices": ["ini", "conf", "properties"], "default": "ini"},
            "options": {"type": "list", "elements": "dict", "required": True, "options": SUBOPTIONS},
        },
        supports_check_mode=True,
    )
    path, form = module.params["path"], module.params["format"]
    try:
        found = read_file(path)
        if found is None:
            raise FilesError("%s does not exist; options are set in a file that is there" % path)
        text = found.data.decode("utf-8", "surrogateescape")
        settings = wanted(module.params["options"])
        edited = edit(text, form, settings).encode("utf-8", "surrogateescape")

        def write() -> None:
            """Write all options with one rename."""
            write_file(path, edited, mode=found.mode, owner=found.owner, fault="options")
            sweep(path.rpartition("/")[0])

        finish(module, plan(path, text, form, settings), make=lambda change: None, then=write)
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
