# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems of each family in a folder, with a command that refreshes their trust as its manual says it does.

Run as a program it is that command: it takes the family, the root of the tree, and the options of the real one.

debian  update-ca-certificates.8 and its script: links to *.crt in /etc/ssl/certs, and a list of all; a link to a file
        that is gone stays unless `--fresh` is given
alpine  update-ca.c: the same without options; a file that is no single certificate is passed over; stale links go
redhat  update-ca-trust.8: p11-kit reads every file of the folder, whatever its name, and lists each certificate once
suse    etc_ssl.run, certbundle.run: the same, by update-ca-certificates
aix     ca-certificates.spec and p11-kit.spec of BullFreeware: the same, by update-ca-bundles
solaris Oracle, "Using a Custom Certificate Authority Certificate": what is shipped lies in the same folder; a refresh
        of the service makes the list
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
import typing as t
from pathlib import Path

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
SHARED = {"debian": "usr/share/ca-certificates", "alpine": "usr/share/ca-certificates",
          "redhat": "usr/share/pki/ca-trust-source", "suse": "usr/share/pki/trust",
          "aix": "opt/freeware/share/pki/ca-trust-source", "solaris": "etc/certs/CA"}  # fmt: skip


def links(root: Path, folder: Path, local: Path, *, fresh: bool) -> None:
    """Make a link in /etc/ssl/certs for each file; a stale one stays unless they are made afresh."""
    if fresh:
        for link in folder.iterdir():
            if link.is_symlink():
                link.unlink()
    for file in sorted(local.glob("*.crt")):
        link = folder / (file.stem + ".pem")
        if not link.is_symlink():
            link.symlink_to(file)


def refresh(family: str, root: Path, options: t.Sequence[str]) -> int:
    """Do what the family's command does."""
    broken = root / "broken"
    said = broken.read_text() if broken.exists() else ""
    if "fails" in said:
        print("rehash: error: no space left")
        return 1
    if "does nothing" in said:
        return 0
    service = {"refresh", "-s", "svc:/system/ca-certificates:default"}
    allowed = {"debian": {"--fresh"}, "redhat": {"extract"}, "solaris": service}.get(family, set())
    if set(options) - allowed:
        print("unknown option %s" % options)
        return 2
    known = {"debian": ("usr/local/share/ca-certificates", "*.crt", "etc/ssl/certs/ca-certificates.crt"),
             "alpine": ("usr/local/share/ca-certificates", "*.crt", "etc/ssl/certs/ca-certificates.crt"),
             "redhat": ("etc/pki/ca-trust/source/anchors", "*", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
             "suse": ("etc/pki/trust/anchors", "*", "var/lib/ca-certificates/ca-bundle.pem"),
             "aix": ("opt/freeware/share/pki/ca-trust-source/anchors", "*", "var/ssl/cert.pem"),
             "solaris": ("etc/certs/CA", "*", "etc/certs/ca-certificates.crt")}  # fmt: skip
    local, pattern, bundle = known[family]
    folders = dict.fromkeys((SHARED[family], local))
    texts = [file.read_text() for folder in folders for file in sorted((root / folder).glob(pattern)) if file.is_file()]
    found = ["# as %s has it\n" % family]
    for text in texts:
        certificates = PEM.findall(text)
        if family == "alpine" and len(certificates) != 1:
            continue
        found += [each for each in certificates if family in ("debian", "alpine") or each not in found]
    new = root / (bundle + ".new")
    new.write_text("".join(found))
    new.chmod(0o644)
    new.replace(root / bundle)
    if family in ("debian", "alpine"):
        links(root, root / "etc/ssl/certs", root / local, fresh=family == "alpine" or "--fresh" in options)
    with (root / "calls").open("a") as calls:
        calls.write(" ".join(options) + "\n")
    return 0


@dataclasses.dataclass(frozen=True)
class System:
    """A system of a family in a folder."""

    family: str
    root: Path

    @staticmethod
    def make(family: str, root: Path, *, shipped: str) -> System:
        """Make one that trusts what its distribution ships."""
        made = ("etc/ssl/certs", "etc/pki/ca-trust/extracted/pem", "var/lib/ca-certificates", "var/ssl", SHARED[family])
        for folder in made:
            (root / folder).mkdir(parents=True)
        (root / SHARED[family] / "shipped.crt").write_text(shipped)
        (root / "family").write_text(family)
        system = System(family, root)
        assert refresh(family, root, []) == 0
        return system

    def place(self, path: str) -> str:
        """Return a path of the system as this machine reaches it."""
        return str(self.root / path.lstrip("/"))

    def store(self, store: t.Any) -> t.Any:
        """Return a row of the table for this system; a program that stands for its command is given what it is told."""
        program = self.root / "refresh"
        if not program.exists():
            given = "sys.argv[1:1] = [%r, %r]" % (self.family, str(self.root))
            lines = ["#!%s -IS" % sys.executable, "import runpy, sys", given, "runpy.run_path(%r, run_name='__main__')"]
            program.write_text("\n".join(lines) % __file__ + "\n")
            program.chmod(0o755)
        return dataclasses.replace(
            store,
            anchors=self.place(store.anchors),
            bundle=self.place(store.bundle),
            others=tuple(map(self.place, store.others)),
            refresh=(str(program), *store.refresh[1:]),
            refresh_removed=(str(program), *store.refresh_removed[1:]),
        )

    def calls(self) -> list[str]:
        """Return the options of each call, and forget them."""
        path = self.root / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return found

    def state(self) -> dict[str, tuple[int, str]]:
        """Return every file with its mode and its content."""
        return {
            str(path.relative_to(self.root)): (path.lstat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name not in ("calls", ".lock", "refresh", "broken", "family")
        }


if __name__ == "__main__":
    raise SystemExit(refresh(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
