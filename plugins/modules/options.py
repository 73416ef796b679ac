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
  - Every other byte stays as it is, and so do mode, owner, access list and SELinux label. A file that is a link is
    refused.
author: connsec.tls contributors (@connsec)
attributes:
  check_mode:
    description: Says what would be changed and changes nothing.
    support: full
  diff_mode:
    description: Shows each option before and after; values of options that are named like secrets are masked.
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
    choices: [ini, conf, postfix, properties, apache, haproxy, hba, nginx, xml]
    default: ini
  options:
    description: The options as they are wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      section:
        description:
          - Section of the option, in format V(ini).
          - In formats V(apache), V(haproxy), V(nginx) and V(xml) a path of blocks such as
            V(http > server[listen *:8443]), with directives in brackets of which a block has to have one. It may fit
            several blocks.
        type: str
        default: ""
      key:
        description:
          - Name of the option.
          - In formats of directives its leading words, of which V(*) is any, and V(*:8443) this port at any address; in
            format V(xml) an attribute. V(.) is the block itself, with an empty value.
        type: str
        required: true
      value:
        description:
          - Its value; required unless O(options[].state=absent).
          - Empty for a directive of nothing but its key.
        type: str
      like:
        description: A section of which O(options[].section) is made as a copy, where it is missing.
        type: str
      separator:
        description: As O(separator), for this option alone.
        type: str
      state:
        description: Whether the option is to be there.
        type: str
        choices: [present, absent]
        default: present
  separator:
    description:
      - What stands between name and value of an option that is new to the file, such as V(=).
      - That of its neighbours in the file if it is not given.
    type: str
notes:
  - Where an option stands twice, the last one is changed, for it is the one that most readers take. With
    O(options[].state=absent) all of them go.
  - In formats V(apache), V(haproxy), V(hba), V(nginx) and V(xml), where an option is a directive in a block, all that
    begin with the words of O(options[].key) are set, and includes are not followed.
  - Format V(ini) is read as Python's C(configparser) reads it, with names as they are written.
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
  sample: {"/etc/router/router.ini [listener.default] tls_port": "is not set, planned '2021'"}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core._errors import TlsError
from ..module_utils._host._option_file import OptionFile
from ..module_utils._module import finish, hide_secrets

FORMATS = ["ini", "conf", "postfix", "properties", "apache", "haproxy", "hba", "nginx", "xml"]
OPTION = {
    "section": {"type": "str", "default": ""},
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str"},
    "like": {"type": "str"},
    "separator": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    """Read the file, decide, write it once, and tell."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "format": {"type": "str", "choices": FORMATS, "default": "ini"},
            "options": {"type": "list", "elements": "dict", "required": True, "options": OPTION},
            "separator": {"type": "str"},
        },
        supports_check_mode=True,
        no_log=True,  # this keeps the values of options out of the host's system log, and nothing out of the result
    )
    asked = module.params
    hide_secrets(module, asked["options"])
    try:
        file = OptionFile(asked["path"], asked["format"], asked["options"], separator=asked["separator"])
        # all changes come with one rename
        finish(module, file.changes, make=lambda change: None, then=file.write)
    except TlsError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
