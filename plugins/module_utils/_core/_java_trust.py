# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A truststore that is the JVM's own list with our anchors in it: when it has to be made anew; private."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._anchor import Anchor
from ._change import Change
from ._errors import TlsError

Manifest = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class StoreSeen:
    """A truststore as it was found.

    Attributes:
        manifest: what went in, as we noted it; None where nothing is noted.
        sha256: the digest of the file; None where there is none.
        mode: its mode.
    """

    manifest: Manifest | None
    sha256: str | None
    mode: int | None


def inputs_of(anchors: t.Sequence[Anchor], *, jvm: str) -> dict[str, t.Any]:
    """Return what goes into a truststore: the digest of the JVM's own list, and our anchors by alias."""
    return {"jvm": jvm, "anchors": {anchor.stem: anchor.sha256 for anchor in anchors}}


def plan_java_trust(
    path: str, anchors: t.Sequence[Anchor], *, inputs: t.Mapping[str, t.Any], seen: StoreSeen, mode: int
) -> Change | None:
    """Return what makes a truststore the JVM's own list with these anchors, if it is not.

    Raises:
        TlsError: a file lies there that we did not make.
    """
    _refuse_foreign(path, seen)
    reason = _why_made(inputs, seen, mode=mode)
    if reason is None:
        return None
    after = {"jvm": inputs["jvm"], "anchors": {anchor.stem: anchor.shown for anchor in anchors}}
    return Change("truststore " + path, _shown(seen), after, reason)


def plan_removal(path: str, *, seen: StoreSeen) -> Change | None:
    """Return what takes a truststore of ours away, if there is one.

    Raises:
        TlsError: a file lies there that we did not make.
    """
    _refuse_foreign(path, seen)
    if seen.manifest is None and seen.sha256 is None:
        return None
    return Change("truststore " + path, _shown(seen), None, "it is wanted no more")


def _refuse_foreign(path: str, seen: StoreSeen) -> None:
    if seen.sha256 is not None and seen.manifest is None:
        raise TlsError("%s is there and we did not make it; name another path, or remove it" % path)


def _why_made(inputs: t.Mapping[str, t.Any], seen: StoreSeen, *, mode: int) -> str | None:
    """Return why a truststore has to be made; None if it is as it should be."""
    if seen.sha256 is None:
        return "it is not there"
    manifest = seen.manifest or {}
    if manifest.get("jvm") != inputs["jvm"]:
        return "the JVM's own list is another"
    had, wanted = set((manifest.get("anchors") or {}).items()), set(inputs["anchors"].items())
    if had != wanted:
        rows = ["+" + alias for alias, _sha256 in sorted(wanted - had)]
        return "its anchors differ: " + " ".join(rows + ["-" + alias for alias, _sha256 in sorted(had - wanted)])
    if manifest.get("sha256") != seen.sha256:
        return "it is not as it was made"
    return None if seen.mode == mode else "its mode is %04o" % (seen.mode or 0)


def _shown(seen: StoreSeen) -> dict[str, t.Any] | None:
    if seen.sha256 is None:
        return None
    manifest = seen.manifest or {}
    return {"jvm": manifest.get("jvm"), "anchors": sorted(manifest.get("anchors") or ())}
