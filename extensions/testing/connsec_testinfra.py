# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests with pytest-testinfra ask of a host after a rollout. docs/task_molecule.md has examples.

    def test_the_shop_is_enforced(host):
        assert enforced(host, "shop.example.net", port=80, secure_port=443, trust=TRUST)

``host`` is testinfra's. Whatever is looked at is seen from that host: give a client's to see what the client sees.
Nothing of the collection is used, so that it judges the collection; on the host Python 3.8 or newer is enough.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

#: What is said in the clear, and over TLS, to see whether somebody answers. Apache wants the host that SNI named.
HTTP: t.Final = "GET / HTTP/1.0\r\nHost: {name}\r\n\r\n"


class Result(t.Protocol):
    """What a command of testinfra leaves."""

    rc: int
    stdout: str
    stderr: str


class Host(t.Protocol):
    """What is used of testinfra's host."""

    def run(self, command: str, *arguments: str) -> Result:
        """Run a command with arguments that are quoted."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether something holds, and why not: pytest shows both where an assertion fails."""

    holds: bool
    why: str

    def __bool__(self) -> bool:
        """Return whether it holds."""
        return self.holds


@dataclasses.dataclass(frozen=True)
class Handshake:
    """What came of a handshake.

    Attributes:
        verified: whether it was completed with a certificate that the trust and the name accept, and not refused after.
        why: what kept it from that.
        protocol: the version that was agreed on.
        answer: how the server answered to what was said.
        signer: the common name of who signed the certificate; told of a verified one only.
        names: the names and addresses in it.
        until: when it ends, as OpenSSL says it.
    """

    verified: bool
    why: str = ""
    protocol: str = ""
    answer: str = ""
    signer: str = ""
    names: tuple[str, ...] = ()
    until: str = ""


@dataclasses.dataclass(frozen=True)
class Key:
    """Who can do what with a private key.

    Attributes:
        owner: the account that it belongs to.
        mode: its mode, such as 0o400.
        readers: every account but root that can read it, folders above it considered.
    """

    owner: str
    mode: int
    readers: tuple[str, ...]


def handshake(
    host: Host,
    address: str,
    port: int,
    *,
    trust: str | None = None,
    name: str | None = None,
    client: tuple[str, str] | None = None,
    says: str = HTTP,
    newest: str = "",
) -> Handshake:
    """Dial a listener from a host, and verify it as a client does.

    Args:
        host: where to look from.
        address: what is connected to.
        port: its port.
        trust: the CA list on that host; what the system trusts if it is not given.
        name: the name that the certificate has to have; the address if it is not given.
        client: certificate and key on that host, for a listener that demands them.
        says: what is sent afterwards, with the name for `{name}`; nothing if empty. A server may refuse a client only
            then (RFC 8446, 4.4.2.4).
        newest: the newest version that is offered, such as `TLSv1_1`.
    """
    asked = {"address": address, "port": port, "name": name or address, "trust": trust, "client": client}
    said = _ask(host, _HANDSHAKE, {**asked, "says": _said(says, name or address), "newest": newest})
    return Handshake(**{**said, "names": tuple(said.get("names", ()))})


def plaintext(host: Host, address: str, port: int, *, says: str = HTTP) -> str:
    """Say something in the clear, and return what came back: an answer, or `closed`, `reset`, `silent`, `alert`."""
    return str(_ask(host, _PLAINTEXT, {"address": address, "port": port, "says": _said(says, address)})["came"])


def _said(says: str, name: str) -> str:
    return says.replace("{name}", name)


def enforced(
    host: Host,
    address: str,
    *,
    port: int,
    secure_port: int | None = None,
    trust: str | None = None,
    name: str | None = None,
    client: tuple[str, str] | None = None,
    says: str = HTTP,
) -> Verdict:
    """Return whether a listener refuses plaintext and old protocol versions, and is verified over TLS.

    Args:
        host: where to look from.
        address: what is connected to.
        port: the clear port.
        secure_port: the one for TLS, where it is another.
        trust, name, client, says: as for `handshake`.
    """
    came = plaintext(host, address, port, says=says)
    if not _refuses(came, on_one_port=secure_port in (None, port)):
        return Verdict(False, "plaintext is answered on port %d: %r" % (port, came[:80]))
    given = {"trust": trust, "name": name, "client": client, "says": says}
    seen = handshake(host, address, secure_port or port, **given)  # type: ignore[arg-type]
    if not seen.verified:
        return Verdict(False, "no verified handshake on port %d: %s" % (secure_port or port, seen.why))
    old = handshake(host, address, secure_port or port, newest="TLSv1_1", **given)  # type: ignore[arg-type]
    if old.protocol:
        return Verdict(False, "%s is spoken on port %d" % (old.protocol, secure_port or port))
    return Verdict(True, "refuses plaintext; %s, signed by %s" % (seen.protocol, seen.signer))


def _refuses(came: str, *, on_one_port: bool) -> bool:
    """Return whether what came back is no answer; on a port for TLS a web server may say in the clear what it wants."""
    if not on_one_port:
        return came == "closed"
    return came in ("closed", "reset", "silent", "alert") or _is_bad_request(came)


def _is_bad_request(answer: str) -> bool:
    return answer.startswith("HTTP/") and " 400 " in answer.partition("\r\n")[0]


def demands_certificates(host: Host, address: str, port: int, *, client: tuple[str, str], **given: t.Any) -> Verdict:
    """Return whether a listener takes a client with this certificate, and refuses one without any."""
    known, unknown = (handshake(host, address, port, client=each, **given) for each in (client, None))
    if not known.verified or _is_refusal(known.answer):
        return Verdict(False, "a client with a certificate is refused: %s" % (known.why or known.answer[:80]))
    if unknown.verified and not _is_refusal(unknown.answer):
        return Verdict(False, "a client without a certificate is answered: %r" % unknown.answer[:80])
    return Verdict(True, "a client without a certificate is refused: %s" % (unknown.why or unknown.answer[:80]))


def _is_refusal(answer: str) -> bool:
    """Return whether a web server that completed the handshake refuses its client in HTTP, as nginx does."""
    return _is_bad_request(answer) and "ertificate" in answer


def key(host: Host, path: str) -> Key:
    """Return who owns a private key, and which accounts can read it. It has to be asked as root."""
    said = _ask(host, _KEY, {"path": path})
    return Key(str(said["owner"]), int(said["mode"]), tuple(said["readers"]))


def service_variable(host: Host, unit: str, name: str) -> str | None:
    """Return a variable that a unit's main process has as it runs now; None if it has none of that name."""
    value = _ask(host, _VARIABLE, {"unit": unit, "name": name})["value"]
    return None if value is None else str(value)


def _ask(host: Host, script: str, asked: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    done = host.run("python3 -I -c %s %s", _BEGIN + script, json.dumps(asked))
    assert done.rc == 0, "the host cannot tell: %s" % done.stderr.strip()[-500:]
    return dict(json.loads(done.stdout))


# What runs on hosts: Python 3.8, standard library.

_BEGIN: t.Final = """
import json, os, socket, ssl, sys
ask = json.loads(sys.argv[1])
def tell(**said):
    print(json.dumps(said))
    sys.exit(0)
"""

_HANDSHAKE: t.Final = """
import warnings
warnings.simplefilter("ignore")
context = ssl.create_default_context(cafile=ask["trust"])
if ask["newest"]:
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = getattr(ssl.TLSVersion, ask["newest"])
if ask["client"]:
    context.load_cert_chain(*ask["client"])
answer = b""
try:
    with socket.create_connection((ask["address"], ask["port"]), 10) as plain:
        with context.wrap_socket(plain, server_hostname=ask["name"]) as tls:
            found, protocol = tls.getpeercert(), tls.version()
            if ask["says"]:
                tls.sendall(ask["says"].encode())
                while len(answer) < 4096:
                    part = tls.recv(4096)
                    if not part:
                        break
                    answer += part
except OSError as error:
    tell(verified=False, why=str(getattr(error, "verify_message", "") or error))
signer = {key: value for row in found["issuer"] for key, value in row}
tell(verified=True, protocol=protocol, answer=answer.decode("latin-1"), until=found["notAfter"],
     signer=signer.get("commonName") or signer.get("organizationName") or "",
     names=[value for kind, value in found.get("subjectAltName", ())])
"""

_PLAINTEXT: t.Final = """
try:
    with socket.create_connection((ask["address"], ask["port"]), 5) as plain:
        plain.sendall(ask["says"].encode())
        came = plain.recv(4096)
except ConnectionRefusedError:
    tell(came="closed")
except socket.timeout:
    tell(came="silent")
except OSError:
    tell(came="reset")
tell(came="alert" if came[:2] == bytes([21, 3]) else came.decode("latin-1") or "reset")
"""

_KEY: t.Final = """
import grp, pwd
if os.geteuid():
    sys.exit("only root can ask for every account; set become")
path, readers = ask["path"], []
status = os.stat(path)
for account in pwd.getpwall():
    if account.pw_uid == 0:
        continue
    child = os.fork()
    if not child:
        try:
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os._exit(0 if os.access(path, os.R_OK) else 1)
        except OSError:
            os._exit(1)
    if os.waitpid(child, 0)[1] == 0:
        readers.append(account.pw_name)
tell(owner=pwd.getpwuid(status.st_uid).pw_name, mode=status.st_mode & 0o7777, readers=sorted(readers))
"""

_VARIABLE: t.Final = """
import subprocess
argv = ["systemctl", "show", "--property=MainPID", "--value", "--", ask["unit"]]
pid = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
if pid in ("", "0"):
    sys.exit("%s does not run" % ask["unit"])
with open("/proc/%s/environ" % pid, "rb") as file:
    pairs = [part.decode("utf-8", "surrogateescape").partition("=") for part in file.read().split(bytes(1)) if part]
tell(value={name: value for name, _equals, value in pairs}.get(ask["name"]))
"""
