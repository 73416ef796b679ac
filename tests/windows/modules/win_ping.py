# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""win_ping, as ansible.windows 3.3.0 has it."""

from __future__ import annotations

import typing as t

from .. import Failed
from ..machine import Machine
from ..model import Call, Model, Result


def act(call: Call, machine: Machine) -> Result:
    if call["data"] == "crash":
        raise Failed("Unhandled exception while executing module: boom")
    return {"changed": False, "ping": call["data"]}


MODEL: t.Final = Model(
    "win_ping",
    source="fb9994426f6947b20d29dd5933e79b948fe2428f309e73313d2900258e2ee11f",
    act=act,
    shown=("data",),
)
