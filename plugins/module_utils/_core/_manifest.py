# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a generation of material consists of, and what its manifest says; private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Inputs = t.Mapping[str, t.Any]

MANIFEST: t.Final = "manifest.json"
LISTS: t.Final = "crl.pem"
#: The files that each identity of a generation has: the default one at the top, others in folders of their names.
FILES_OF_IDENTITY: t.Final = (
    "certificate.pem",
    "chain.pem",
    "fullchain.pem",
    "key.pem",
    "combined.pem",
    "keystore.p12",
    "keystore.password",
)
#: All files of a generation; none of them can be the name of an identity.
FILES: t.Final = (*FILES_OF_IDENTITY, "trust.pem", "truststore.p12", LISTS, MANIFEST)


def file_in(folder: str, name: str) -> str:
    """Return the path of an identity's file in its generation; the default identity has no folder."""
    return "%s/%s" % (folder, name) if folder else name


def of_folder(folder: str) -> str:
    """Return how a sentence says whose certificate it is about; the default identity's is simply the certificate."""
    return " of %s" % folder if folder else ""


@dataclass(frozen=True)
class Drift:
    """A file that is not as it was installed.

    Attributes:
        name: the file's path in its generation.
        seen: a sentence that says what it is instead.
        repairable: whether only mode or owner differ, so that nothing has to be written again.
    """

    name: str
    seen: str
    repairable: bool = False


def identities_in(inputs: Inputs) -> t.Mapping[str, Inputs]:
    """Return what went in of each identity, by folder."""
    found: t.Mapping[str, Inputs] = inputs.get("identities") or {}
    return found


def roots_in(inputs: Inputs) -> set[str]:
    """Return the fingerprints of the roots that a generation names: those that it trusts, and of its identities."""
    above = {str(row["root"]) for row in identities_in(inputs).values() if row.get("root")}
    return above | {str(root) for root in inputs.get("trust") or ()}
