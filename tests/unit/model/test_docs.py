# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/model.md says the same as the tables of fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core import _fields as fields

PAGE = Path(__file__).resolve().parents[3] / "docs" / "model.md"

SECTIONS = {
    "Entries of the file": fields.DOCUMENT,
    "hosts.*name*": fields.HOST,
    "components.*name*": fields.COMPONENT,
    "components.*name*.listeners.*name*": fields.LISTENER,
    "limits": fields.LIMITS,
    "connections": fields.CONNECTION,
    "identities.*name*": fields.IDENTITY,
    "authorities.*name*": fields.AUTHORITY,
}


def rows(section):
    text = PAGE.read_text(encoding="utf-8").split("\n## %s\n" % section, 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_described_and_no_other(section):
    assert list(rows(section)) == list(SECTIONS[section])


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "Entries of the file"])
def test_a_field_has_type_default_and_a_sentence(section):
    for name, row in rows(section).items():
        cells = [cell.strip() for cell in row.split(" | ")]
        assert len(cells) == 3, name
        assert cells[2].rstrip("*)").endswith((".", ";")) or cells[2].endswith("."), name
        field = SECTIONS[section][name]
        assert cells[1].startswith("required") == field.required or "if" in cells[1], name
        if isinstance(field.default, (int, str)) and field.default != "":
            assert "`%s`" % str(field.default).replace("True", "true").replace("False", "false") in cells[1], name
