# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts, the system itself, and conversions, as .NET has them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import typing as t

from .. import Refused
from ..accounts import CONNECTING
from ..machine import Machine
from .values import Net, PsError, Value, text, words


class Convert(Net):
    name = "System.Convert"

    @staticmethod
    def s_frombase64string(_machine: Machine, content: Value) -> bytes:
        try:
            return base64.b64decode("".join(text(content).split()), validate=True)  # white space is passed over
        except binascii.Error as error:
            raise PsError("System.FormatException", "The input is not a valid Base-64 string.") from error

    @staticmethod
    def s_tobase64string(_machine: Machine, data: bytes) -> str:
        return base64.b64encode(data).decode()


class BitConverter(Net):
    name = "System.BitConverter"

    @staticmethod
    def s_tostring(_machine: Machine, data: bytes) -> str:
        return "-".join("%02X" % byte for byte in data)


class Sha256(Net):
    name = "System.Security.Cryptography.SHA256"

    @staticmethod
    def s_create(_machine: Machine) -> Sha256:
        return Sha256()

    def m_computehash(self, data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    def m_dispose(self) -> None:
        """Nothing is held."""


class Sid(Net):
    name = "System.Security.Principal.SecurityIdentifier"

    def __init__(self, value: str) -> None:
        self._value = value

    def p_value(self) -> str:
        return self._value


class Account(Net):
    name = "System.Security.Principal.NTAccount"

    def __init__(self, machine: Machine, account: str) -> None:
        self._machine = machine
        self._account = account

    @classmethod
    def new(cls, machine: Machine, *arguments: Value) -> Account:
        (account,) = arguments
        return cls(machine, text(account))

    def m_translate(self, kind: Value) -> Sid:
        if kind is not Sid:
            raise Refused("the twin's PowerShell translates accounts to their SIDs alone")
        # LocalSystem and its like are words of the service manager, which LookupAccountName does not know
        known = None if self._account.lower() in ("localsystem", "localservice", "networkservice") else self._sid()
        if known is None:
            message = "Some or all identity references could not be translated."
            raise PsError("System.Security.Principal.IdentityNotMappedException", message)
        return Sid(known)

    def _sid(self) -> str | None:
        return None if self._account.startswith("S-1-") else self._machine.accounts.sid(self._account)


class Identity(Net):
    name = "System.Security.Principal.WindowsIdentity"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @staticmethod
    def s_getcurrent(machine: Machine) -> Identity:
        return Identity(machine)

    def p_user(self) -> Sid:
        return Sid(self._machine.accounts.sid(CONNECTING) or "")


class Version(Net):
    name = "System.Version"

    def __init__(self, build: int) -> None:
        self._build = build

    def p_build(self) -> int:
        return self._build

    def p_version(self) -> Version:
        return self


class Environment(Net):
    name = "System.Environment"

    @staticmethod
    def sp_osversion(machine: Machine) -> Version:
        return Version(machine.build)

    @staticmethod
    def s_getfolderpath(_machine: Machine, folder: Value) -> str:
        words(folder, ("CommonApplicationData",), of="System.Environment+SpecialFolder")
        return "C:\\ProgramData"


TYPES: t.Final[tuple[type[Net], ...]] = (
    Account,
    BitConverter,
    Convert,
    Environment,
    Identity,
    Sha256,
    Sid,
    Version,
)
