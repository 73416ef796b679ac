# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own openssl and keytool, as makers of keys, requests and keystores; private to this collection.

No key and no password is ever an argument, and no key passes through a pipe that we read: openssl writes it into a file
that was opened for it, with its mode from birth.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import subprocess
import typing as t

from .._core._birth import KEY_KINDS, BirthRefused, WantedKey
from .._core._masked import masked
from .._core._names import is_ip_address
from ._born import KEYSTORE, PASSWORD
from ._der import DerError
from ._files import write_new
from ._reading import FilesError, read_regular

#: Where systems keep programs that are in nobody's path: Solaris, AIX, and what administrators built.
_ELSEWHERE: t.Final = ("/usr/bin", "/usr/local/bin", "/usr/sfw/bin", "/opt/freeware/bin", "/usr/local/ssl/bin")
#: An RSA key of 4,096 bits on a small machine under load.
_SECONDS: t.Final = 120.0
_LARGEST: t.Final = 1 << 20
_BEGIN: t.Final = "-----BEGIN "
#: A request for us says whose key it is and nothing else: names come from the plan.
_REQUEST: t.Final = "[req]\nprompt = no\ndistinguished_name = subject\nstring_mask = utf8only\n%s[subject]\nCN = %s\n"
#: One for others says what they are to sign.
_USAGES: t.Final = {"client": "clientAuth", "server": "serverAuth"}


def program(name: str) -> str | None:
    """Return where a program of the host lies; None if it has none."""
    java = os.environ.get("JAVA_HOME")
    places = [os.environ.get("PATH", os.defpath), *_ELSEWHERE, *([os.path.join(java, "bin")] if java else [])]
    return shutil.which(name, path=os.pathsep.join(places))


def new_password() -> str:
    """Return a password for a keystore: 200 bits in letters and digits, which every program reads."""
    return base64.b32encode(secrets.token_bytes(25)).decode()


# openssl


def make_key(openssl: str, key_type: str, path: str) -> None:
    """Make a private key in a new file: PKCS#8, and never readable by anybody else.

    Raises:
        BirthRefused: the program does not make it.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
    try:
        _run([openssl, "genpkey", *KEY_KINDS[key_type].openssl], what="make a key", stdout=file)
        os.fsync(file)
    finally:
        os.close(file)
    found = read_regular(path)
    if found is None or not found.data.startswith(b"-----BEGIN PRIVATE KEY-----"):
        raise BirthRefused("%s genpkey made no PKCS#8 key; install an openssl of 1.0.2 or later" % openssl)


def make_request(openssl: str, key: str, wanted: WantedKey, *, folder: str) -> str:
    """Return a certificate request, signed with a key, as PEM."""
    settings, terms = os.path.join(folder, "request.cnf"), wanted.terms
    write_new(settings, _settings(wanted).encode(), mode=0o400)
    subject = ["-subj", "/"] if terms.names and not terms.common_name else []  # a subject of settings is never empty
    argv = [openssl, "req", "-new", "-sha256", "-config", settings, "-key", key, *subject]
    return _pem_in(_run(argv, what="make a request"), openssl)


def _settings(wanted: WantedKey) -> str:
    """Return what openssl is told of a request; every name in it was checked at the birth of ``wanted``."""
    terms = wanted.terms
    if not terms.names:
        return _REQUEST % ("", wanted.identity)
    asked = {
        "subjectAltName": _critical(not terms.common_name) + ",".join(_names(wanted, "DNS:", "IP:")),
        "keyUsage": _critical(True) + ",".join(_key_usages(wanted)),
        "extendedKeyUsage": ",".join(_USAGES[usage] for usage in terms.usages),
    }
    extensions = "[asked]\n" + "".join("%s = %s\n" % row for row in asked.items())
    return _REQUEST % ("req_extensions = asked\n", terms.common_name or wanted.identity) + extensions


def _critical(is_critical: bool) -> str:
    return "critical," if is_critical else ""


def _names(wanted: WantedKey, dns: str, address: str) -> list[str]:
    return [(address if is_ip_address(name) else dns) + name for name in wanted.terms.names]


def _key_usages(wanted: WantedKey) -> list[str]:
    """Return what the key may do, as the controller asks for it: only RSA key exchange enciphers."""
    return ["digitalSignature", *(["keyEncipherment"] if wanted.key_type.startswith("rsa") else [])]


def make_keystore(openssl: str, key: str, certificates: bytes, *, alias: str, password: str) -> bytes:
    """Return a PKCS#12 keystore with a key and its certificates; the password travels through a descriptor."""
    reading, writing = os.pipe()
    try:
        os.write(writing, password.encode() + b"\n")
        os.close(writing)
        argv = [openssl, "pkcs12", "-export", "-inkey", key, "-name", alias.lower(), "-passout", "fd:%d" % reading]
        argv += ["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256"]
        return _run(argv, what="make a keystore", stdin=certificates, keep=(reading,))
    finally:
        os.close(reading)


# keytool


def make_key_in_keystore(keytool: str, key_type: str, subject: str, *, folder: str) -> None:
    """Make a private key in a new keystore of a folder that has the password's file already."""
    options = [*KEY_KINDS[key_type].keytool, "-dname", "CN=%s" % subject, "-validity", "1"]
    _keytool(keytool, folder, "-genkeypair", "-alias", subject, *options, what="make a key")
    os.chmod(os.path.join(folder, KEYSTORE), 0o400)


def make_request_of_keystore(keytool: str, wanted: WantedKey, *, folder: str) -> str:
    """Return a certificate request, signed with the key of a keystore, as PEM."""
    terms, options = wanted.terms, []
    if terms.names:
        options += ["-dname", "CN=%s" % terms.common_name if terms.common_name else ""]
        names = ",".join(_names(wanted, "dns:", "ip:"))
        options += ["-ext", "san%s=%s" % ("" if terms.common_name else ":critical", names)]
        options += ["-ext", "ku:critical=%s" % ",".join(_key_usages(wanted))]
        options += ["-ext", "eku=%s" % ",".join(_USAGES[usage] for usage in terms.usages)]
    said = _keytool(keytool, folder, "-certreq", "-alias", wanted.identity, *options, what="make a request")
    return _pem_in(said, keytool)


def answer_keystore(keytool: str, certificates: bytes, *, alias: str, folder: str) -> bytes:
    """Return the keystore of a folder with the certificates of its key in it."""
    path = os.path.join(folder, KEYSTORE)
    os.chmod(path, 0o600)
    answer = os.path.join(folder, "answer.pem")
    write_new(answer, certificates, mode=0o400)
    options = ("-alias", alias, "-noprompt", "-file", answer)
    _keytool(keytool, folder, "-importcert", *options, what="put a certificate into a keystore")
    found = read_regular(path)
    if found is None:
        raise BirthRefused("%s left no keystore at %s" % (keytool, path))
    return found.data


def _keytool(keytool: str, folder: str, verb: str, *arguments: str, what: str) -> bytes:
    store = ["-keystore", os.path.join(folder, KEYSTORE), "-storetype", "PKCS12"]
    password = ["-storepass:file", os.path.join(folder, PASSWORD)]
    return _run([keytool, verb, *store, *password, *arguments], what=what)


# both


def _run(
    argv: t.Sequence[str], *, what: str, stdin: bytes = b"", stdout: int | None = None, keep: t.Sequence[int] = ()
) -> bytes:
    """Run a program with nobody else's settings, and return what it said.

    Raises:
        BirthRefused: it cannot be started, fails or does not end; with what it said of that.
    """
    with contextlib.ExitStack() as stack:
        before = os.umask(0o077)
        stack.callback(os.umask, before)
        try:
            done = subprocess.run(
                list(argv),
                input=stdin,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                timeout=_SECONDS,
                pass_fds=tuple(keep),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BirthRefused("%s could not %s within %g s" % (argv[0], what, _SECONDS)) from None
        except OSError as error:
            raise BirthRefused("%s could not %s: %s" % (argv[0], what, error.strerror)) from error
    said = done.stdout or b""
    if done.returncode != 0 or len(said) > _LARGEST:
        raise BirthRefused("%s could not %s: %s" % (argv[0], what, _excuse(done.stderr, said)))
    return said


def _excuse(errors: bytes, said: bytes) -> str:
    """Return the end of what a program said of its failure, without anything that could be a key."""
    lines = (errors or said[:_LARGEST]).decode("utf-8", "replace").strip().splitlines()
    return " / ".join(masked(line) for line in lines[-3:] if _BEGIN not in line) or "it said nothing"


def _pem_in(said: bytes, maker: str) -> str:
    """Return the certificate request in a program's output, in the one form that everybody reads.

    Raises:
        BirthRefused: there is none.
    """
    try:
        der = request_der(said.decode("ascii", "replace"))
    except DerError as error:
        raise BirthRefused("%s made no certificate request: %s" % (maker, error)) from error
    body = base64.b64encode(der).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n" % "\n".join(lines)


def request_der(text: str) -> bytes:
    """Return the bytes of the certificate request in a text; keytool calls it NEW, and others do not.

    Raises:
        DerError: there is none.
    """
    lines = text.splitlines()
    for label in ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"):
        begin, end = "-----BEGIN %s-----" % label, "-----END %s-----" % label
        if begin in lines and end in lines:
            try:
                return base64.b64decode("".join(lines[lines.index(begin) + 1 : lines.index(end)]), validate=True)
            except ValueError as error:
                raise DerError("its body is not base64") from error
    raise DerError("there is none in what it said")


def password_of(folder: str) -> str | None:
    """Return the keystore password that lies in a folder; None if there is none."""
    try:
        found = read_regular(os.path.join(folder, PASSWORD))
    except FilesError:
        return None
    return None if found is None else found.data.decode("ascii", "replace")
