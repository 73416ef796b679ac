# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A truststore that is a copy of a JVM's own list with our anchors in it, made by its keytool; private.

A copy keeps the JVM's own format, so that every program which reads the JVM's list reads this one, and with as little a
password. Passwords travel in files (keytool's ``:file``), never as arguments.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass

from .._core._anchor import Anchor, fingerprints_in
from .._core._change import Change
from .._core._errors import TlsError
from .._core._java_trust import StoreSeen, inputs_of, plan_java_trust, plan_removal
from .._core._masked import masked
from ._files import locked, make_directory, remove, write_durable, write_new
from ._keygen import program
from ._reading import read_regular

#: What a truststore is given: everybody may know whom a host trusts.
MODE: t.Final = 0o644
MANIFEST: t.Final = ".json"
#: The password of the list that every JVM is shipped with (keytool's documentation, "The cacerts Certificates File").
SHIPPED_PASSWORD: t.Final = "changeit"
#: Where a JVM keeps its list, below its home; of a JDK 8 the last one. The first that is there is the one that JSSE
#: reads (JSSE Reference Guide, "Creating an X509TrustManager").
_LISTS: t.Final = tuple(
    os.path.join(folder, name)
    for folder in ("lib/security", "jre/lib/security")
    for name in ("jssecacerts", "cacerts")
)  # fmt: skip
#: What the folder is called in which one is made.
_WORKSHOP: t.Final = ".java-"
_SECONDS: t.Final = 120.0
_LARGEST: t.Final = 32 << 20


@dataclass(frozen=True)
class Jvm:
    """A JVM of this host.

    Attributes:
        keytool: its program.
        cacerts: the list that it trusts by itself, with links followed.
    """

    keytool: str
    cacerts: str


def find_jvm(home: str | None) -> Jvm:
    """Return the JVM that lies in a folder, or the one whose keytool the host finds.

    Raises:
        TlsError: there is none, or it has no list.
    """
    keytool = os.path.join(home, "bin", "keytool") if home else program("keytool")
    if keytool is None or not os.access(keytool, os.X_OK):
        where = "in " + home if home else "on this host"
        raise TlsError("there is no keytool %s; install a Java runtime, or name its folder in java_home" % where)
    top = home or os.path.dirname(os.path.dirname(os.path.realpath(keytool)))
    for name in _LISTS:
        path = os.path.realpath(os.path.join(top, name))
        if os.path.isfile(path):
            return Jvm(keytool, path)
    raise TlsError("the JVM in %s has no list of its own (lib/security/cacerts); name another in java_home" % top)


class JavaTrust:
    """A truststore at a path, as it should be."""

    def __init__(self, path: str, *, directory: str) -> None:
        """Take in where it lies, and what is there."""
        self.path, self._directory = path, directory
        self.seen = StoreSeen(self._manifest(), *self._file())

    def _file(self) -> tuple[str | None, int | None]:
        found = read_regular(self.path, limit=_LARGEST)
        return (None, None) if found is None else (hashlib.sha256(found.data).hexdigest(), found.mode)

    def _manifest(self) -> dict[str, t.Any] | None:
        found = read_regular(self.path + MANIFEST)
        if found is None:
            return None
        with contextlib.suppress(ValueError):
            read = json.loads(found.data)
            if isinstance(read, dict):
                return read
        return {}

    def removal(self) -> list[Change]:
        """Return what takes it away."""
        change = plan_removal(self.path, seen=self.seen)
        return [] if change is None else [change]

    def remove(self) -> None:
        """Take it away; its note goes last, so that half of it is still known to be ours."""
        with locked(self._directory):
            remove(self.path)
            remove(self.path + MANIFEST)


class MadeTrust(JavaTrust):
    """A truststore that is wanted."""

    def __init__(
        self, path: str, jvm: Jvm, anchors: t.Sequence[Anchor], *, directory: str, password_file: str | None
    ) -> None:
        """Read what goes in, and what is there.

        Raises:
            TlsError: the JVM's list cannot be read, or the same certificate has two names.
        """
        super().__init__(path, directory=directory)
        self._jvm, self._anchors, self._password_file = jvm, tuple(anchors), password_file
        own = read_regular(jvm.cacerts, limit=_LARGEST)
        if own is None:
            raise TlsError("%s is gone" % jvm.cacerts)
        self._own = own.data
        self._inputs = inputs_of(anchors, jvm=hashlib.sha256(own.data).hexdigest())

    def changes(self) -> list[Change]:
        """Return what has to be done."""
        change = plan_java_trust(self.path, self._anchors, inputs=self._inputs, seen=self.seen, mode=MODE)
        return [] if change is None else [change]

    def make(self) -> None:
        """Make it beside the old one, see that everything is in it, and take it.

        Raises:
            TlsError: keytool refused, or something is missing in what it made; the old one stays.
        """
        with locked(self._directory):
            make_directory(os.path.dirname(self.path))
            self._sweep()
            folder = tempfile.mkdtemp(prefix=_WORKSHOP, dir=self._directory)  # 0700: a password may lie in it
            try:
                data = self._made(folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            manifest = {**self._inputs, "cacerts": self._jvm.cacerts, "sha256": hashlib.sha256(data).hexdigest()}
            # The note first: a file that it does not fit is made anew, and one without a note would be somebody else's.
            text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
            write_durable(self.path + MANIFEST, text.encode(), mode=MODE)
            write_durable(self.path, data, mode=MODE)

    def _sweep(self) -> None:
        """Remove the folders of killed runs; while we hold the lock there are no others."""
        for entry in os.listdir(self._directory):
            if entry.startswith(_WORKSHOP):
                shutil.rmtree(os.path.join(self._directory, entry), ignore_errors=True)

    def _made(self, folder: str) -> bytes:
        store, password = os.path.join(folder, "store"), self._password_file or os.path.join(folder, "password")
        write_new(store, self._own, mode=0o600)
        if self._password_file is None:
            write_new(password, SHIPPED_PASSWORD.encode(), mode=0o400)
        common = ("-keystore", store, "-storepass:file", password)
        before = self._listed(common)
        for anchor in self._anchors:
            pem = os.path.join(folder, anchor.stem)
            write_new(pem, anchor.pem.encode(), mode=0o400)
            self._keytool("-importcert", *common, "-noprompt", "-alias", anchor.stem, "-file", pem)
        missing = (before | {anchor.sha256 for anchor in self._anchors}) - self._listed(common)
        made = read_regular(store, limit=_LARGEST)
        if missing or made is None:
            said = "%s ended well, and its truststore lacks %d certificates"
            raise TlsError(said % (self._jvm.keytool, len(missing)))
        return made.data

    def _listed(self, common: t.Sequence[str]) -> set[str]:
        return fingerprints_in(self._keytool("-list", *common, "-rfc"))

    def _keytool(self, *arguments: str) -> str:
        """Run keytool and return what it said.

        Raises:
            TlsError: it cannot be started, fails or does not end.
        """
        argv = [self._jvm.keytool, "-J-Duser.language=en", *arguments]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, env=_environment()
            )
        except subprocess.TimeoutExpired:
            raise TlsError("%s %s did not end within %g s" % (argv[0], arguments[0], _SECONDS)) from None
        except OSError as error:
            raise TlsError("%s cannot be started: %s" % (argv[0], error.strerror)) from error
        said = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            lines = (said + done.stderr.decode("utf-8", "replace")).strip().splitlines()
            tail = " / ".join(masked(line) for line in lines[-3:]) or "it said nothing"
            raise TlsError("%s %s ended with %d: %s" % (argv[0], arguments[0], done.returncode, tail))
        return said


def _environment() -> dict[str, str]:
    """Return an environment in which nobody's options change what keytool does."""
    left_out = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, "LC_ALL": "C"}
