# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs something, from where, and under which change number; private to this collection."""

from __future__ import annotations

import os
import pwd
import socket
import typing as t
from dataclasses import dataclass

from ..module_utils._core._errors import TlsError

#: Variables by which AWX and its predecessor name the person who started a job.
_JOB_OWNERS: t.Final = ("awx_user_name", "tower_user_name")
_LONGEST_CHANGE: t.Final = 128
VARIABLES: t.Final = ("tls_change", *_JOB_OWNERS)


@dataclass(frozen=True)
class Operator:
    """Who runs something.

    Attributes:
        who: the person, as AWX, sudo or the account says; a claim, where the account is a fact.
        account: the controller's account that the run has.
        host: the controller.
        address: where the person's SSH session comes from; empty if there is none.
        change: number of the change request; empty if none was given.
    """

    who: str
    account: str
    host: str
    address: str = ""
    change: str = ""

    def to_json(self) -> dict[str, str | None]:
        """Return who and from where, as the ledger has it; the change number stands beside it."""
        return {"who": self.who, "account": self.account, "host": self.host, "address": self.address or None}


def operator_of(variables: t.Mapping[str, t.Any], *, environment: t.Mapping[str, str] | None = None) -> Operator:
    """Return who runs this.

    Args:
        variables: those of the task, rendered.
        environment: that of the run's process, if it is not this one.

    Raises:
        TlsError: ``tls_change`` is no change number.
    """
    environment = os.environ if environment is None else environment
    account = _account()
    job_owner = next((str(variables[name]) for name in _JOB_OWNERS if variables.get(name)), "")
    return Operator(
        who=job_owner or environment.get("SUDO_USER") or account,
        account=account,
        host=socket.gethostname(),
        address=environment.get("SSH_CLIENT", "").partition(" ")[0],
        change=_change(variables.get("tls_change")),
    )


def _change(value: t.Any) -> str:
    text = "" if value is None else str(value).strip()
    if len(text) > _LONGEST_CHANGE or not text.isprintable():
        raise TlsError(
            "tls_change is %r; it is the number of a change request, at most %d printable characters"
            % (text[: _LONGEST_CHANGE + 1], _LONGEST_CHANGE)
        )
    return text


def _account() -> str:
    """Return the account by its number, for the variables that name it can say anything."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "uid %d" % os.geteuid()
