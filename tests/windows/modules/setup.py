# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""setup on Windows: those facts of ansible.windows 3.3.0 that the twin can tell honestly, by the same subsets.

A fact that is not modelled is missing, so that whoever reads it fails; none is made up.
"""

from __future__ import annotations

import typing as t

from ..accounts import CONNECTING
from ..machine import HOME, Machine
from ..model import Call, Model, Result

#: plugins/modules/setup.ps1, `$groupedSubsets`, of which these have facts here.
_MIN: t.Final = ("distribution", "env", "platform", "powershell_version", "user")
_NETWORK: t.Final = ("all_ipv4_addresses",)
_GROUPS: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "min": _MIN,
    "network": _NETWORK,
    "hardware": (),
    "external": (),
    "all": _MIN + _NETWORK,
}
_PRODUCTS: t.Final = {14393: "2016", 17763: "2019", 20348: "2022", 26100: "2025"}


def act(call: Call, machine: Machine) -> Result:
    facts: Result = {"gather_subset": call["gather_subset"], "module_setup": True}
    subsets = _subsets(call["gather_subset"])
    for name, tell in _FACTS.items():
        if name in subsets:
            facts.update(tell(machine))
    return {"changed": False, "ansible_facts": facts}


def _subsets(wanted: t.Iterable[str]) -> set[str]:
    """Return which subsets to tell: all but those with a `!`, and those that are named besides; `!all` keeps `min`."""
    out: set[str] = set()
    named: set[str] = set()
    for each in wanted:
        if each == "!all":
            out |= set(_GROUPS["all"]) - set(_MIN)
        elif each.startswith("!"):
            out |= set(_GROUPS.get(each[1:], (each[1:],)))
        else:
            named |= set(_GROUPS.get(each, (each,)))
    return set(_GROUPS["all"]) - out | named


def _distribution(machine: Machine) -> Result:
    name = "Microsoft Windows Server %s Standard" % _PRODUCTS[machine.build]
    return {
        "ansible_distribution": name,
        "ansible_distribution_version": "10.0.%d.0" % machine.build,
        "ansible_distribution_major_version": "10",
        "ansible_os_family": "Windows",
        "ansible_os_name": name,
        "ansible_os_product_type": "server",
        "ansible_os_installation_type": "Server",
    }


def _platform(machine: Machine) -> Result:
    return {
        "ansible_hostname": machine.name,
        "ansible_netbios_name": machine.name,
        "ansible_fqdn": machine.state["fqdn"],
        "ansible_nodename": machine.state["fqdn"],
        "ansible_kernel": "10.0.%d.0" % machine.build,
        "ansible_system": "Win32NT",
        "ansible_architecture": "64-bit",
        "ansible_architecture2": "x86_64",
        "ansible_reboot_pending": False,
    }


def _user(machine: Machine) -> Result:
    sid = machine.accounts.sid(CONNECTING)
    return {"ansible_user_id": CONNECTING, "ansible_user_dir": HOME, "ansible_user_sid": sid, "ansible_user_gecos": ""}


_FACTS: t.Final[t.Mapping[str, t.Callable[[Machine], Result]]] = {
    "all_ipv4_addresses": lambda machine: {"ansible_ip_addresses": list(machine.state["addresses"])},
    "distribution": _distribution,
    "env": lambda machine: {"ansible_env": machine.environment},
    "platform": _platform,
    "powershell_version": lambda machine: {"ansible_powershell_version": 5},
    "user": _user,
}

MODEL: t.Final = Model(
    "setup",
    source="b597b329266a9d86b06b5f9a204a228e8d0b4bccfb88a35a8f1c96fa8595e2e4",
    act=act,
    shown=("gather_subset",),
    unmodelled=("fact_path", "_measure_subset"),
)
