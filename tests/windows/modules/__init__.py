# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that the twin models, by name. Each has its file, and cites what it was written from."""

from __future__ import annotations

import typing as t

from ..model import Model
from . import (
    scripts_of_others,
    setup,
    slurp,
    win_acl,
    win_acl_inheritance,
    win_certificate_info,
    win_certificate_store,
    win_copy,
    win_environment,
    win_file,
    win_ping,
    win_reg_stat,
    win_regedit,
    win_service,
    win_stat,
)

#: All of them are of the collection ansible.windows.
MODELS: t.Final[t.Mapping[str, Model]] = {
    "ansible.windows.%s" % model.name: model
    for model in (
        scripts_of_others.COMMAND,
        scripts_of_others.POWERSHELL,
        setup.MODEL,
        slurp.MODEL,
        win_acl.MODEL,
        win_acl_inheritance.MODEL,
        win_certificate_info.MODEL,
        win_certificate_store.MODEL,
        win_copy.MODEL,
        win_environment.MODEL,
        win_file.MODEL,
        win_ping.MODEL,
        win_reg_stat.MODEL,
        win_regedit.MODEL,
        win_service.MODEL,
        win_stat.MODEL,
    )
}
