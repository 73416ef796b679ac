# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this machine's apt gets its packages, so that the base tree gets them there too: mirrors, proxies, options."""

from __future__ import annotations

import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import LabError
from .processes import run

#: What signs Debian's archive; `debootstrap` depends on it, and it is in every tree.
KEYRING: t.Final = "/usr/share/keyrings/debian-archive-keyring.gpg"

#: Where apt keeps what it needs to log in at a mirror: shown to the build, and never copied.
LOGINS: t.Final = (Path("/etc/apt/auth.conf"), Path("/etc/apt/auth.conf.d"))

_HELPER: t.Final = "/usr/lib/apt/apt-helper"
_FIELDS: t.Final = (
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI) $(RELEASE) $(COMPONENT)",
    "Identifier: Packages",
)
_OPTIONS: t.Final = ("apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire")


@dataclass(frozen=True)
class Source:
    """One part of an archive."""

    uri: str
    suite: str
    component: str


def read_sources(suite: str) -> list[Source]:
    """Return where a suite and its updates come from on this machine, the suite itself first.

    Raises:
        LabError: this machine's apt does not have the suite.
    """
    return sources_of(suite, run(_FIELDS))


def sources_of(suite: str, listed: str) -> list[Source]:
    """Return the sources of a suite among those that `apt-get indextargets` lists: a line of three words each.

    Raises:
        LabError: the suite is not among them.
    """
    suites = (suite, suite + "-updates", suite + "-security")
    known = {Source(*line.split()) for line in listed.splitlines() if len(line.split()) == 3}
    ours = [each for each in known if each.suite in suites]
    if not any((each.suite, each.component) == (suite, "main") for each in ours):
        raise LabError(
            "the apt sources of this machine do not have Debian %s, of which the lab's hosts are made" % suite
        )
    return sorted(ours, key=lambda each: (suites.index(each.suite), each.component != "main", each.uri, each.component))


def reach(source: Source) -> None:
    """Return if a source answers, as this machine's apt asks it.

    Raises:
        LabError: it does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        where = "%s/dists/%s/InRelease" % (source.uri.rstrip("/"), source.suite)
        try:
            run([_HELPER, "download-file", where, str(Path(folder) / "InRelease")])
        except LabError as error:
            raise LabError("Debian %s cannot be fetched: %s" % (source.suite, error)) from error


def sources_list(sources: t.Sequence[Source]) -> str:
    """Return a sources.list."""
    return "".join(
        "deb [signed-by=%s] %s %s %s\n" % (KEYRING, each.uri, each.suite, each.component) for each in sources
    )


def read_options() -> str:
    """Return how this machine's apt fetches: its proxies, and whether a mirror may be as old as a snapshot is."""
    return run(_OPTIONS)


def proxies(options: str) -> dict[str, str]:
    """Return the proxies among options of apt as variables, for programs that do not ask apt."""
    rows = (line.rstrip(";").split(" ", 1) for line in options.splitlines() if " " in line)
    values = {name.lower(): value.strip('"') for name, value in rows}
    found = {scheme: values.get("acquire::%s::proxy" % scheme, "") for scheme in ("http", "https")}
    return {"%s_proxy" % scheme: value for scheme, value in found.items() if value and value != "DIRECT"}
