# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at a Windows host: asked in one round trip, read here; private to this collection.

What the host shows of files are their whole contents. They go no further than this: an observation holds the options
that were asked for.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..module_utils._core._errors import TlsError
from ..module_utils._core._windows_host import read_host
from ..module_utils._core._windows_look import LookRefused, Shown, WindowsSight, question
from ..module_utils._core._windows_probes import endpoints, refuse_unseen
from ..module_utils._host._der import read_certificate

Json = dict[str, t.Any]
Asked = t.Mapping[str, t.Any]
Call = t.Callable[[Json], Asked]
#: Makes handshakes from the host: probes in, by their ids what was seen out, as of ``handshake_info``.
Handshakes = t.Callable[[list[Json]], Json]

#: Marks at the beginning of a text, the longest first.
_MARKS: t.Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def look(request: Asked, call: Call, *, handshakes: Handshakes) -> Json:
    """Return what a Windows host shows, with the keys of other systems' observations.

    Args:
        request: as docs/looking.md describes it.
        call: calls ``win_observe`` and returns its state.
        handshakes: calls ``win_handshake_info`` with endpoints, and returns what it saw of them; one more round trip.

    Raises:
        TlsError: it asks for what cannot be looked at, or the host's folder is not safe.
    """
    asked = question(request)
    probes = [dict(row) for row in request.get("probes") or ()]
    refuse_unseen(probes)
    state = call(asked.to_json())
    files = {path: text for path, row in state["files"].items() if (text := _text(path, row)) is not None}
    shown = Shown(state, read_host(state, asked.directory), files)
    instances: Json = {}
    for row in request.get("instances") or ():
        sight = WindowsSight(row, shown, asked.directory)
        seen = sight.to_json()
        seen["adopted"] = _adopted(row, state, sight)
        instances[str(row["name"])] = seen
    manifests = {
        "%s\\%s\\current" % (asked.directory, folder): row.installed.manifest
        for folder, row in shown.host.instances.items()
        if row.installed is not None and row.installed.manifest is not None
    }
    made = handshakes(endpoints(probes, manifests, state["addresses"])) if probes else {}
    return {
        "clock": state["clock"] / 1000,
        "addresses": sorted(each for each in state["addresses"] if not _is_everybodys(each)),
        "probe_ports": [],
        "instances": instances,
        "probes": made,
        "watch": {},
        "settled": {},
        "source_ports": sorted({port for row in made.values() for port in row.get("source_ports") or ()}),
        **({"token": request["token"]} if "token" in request else {}),
    }


def _is_everybodys(address: str) -> bool:
    """Return whether every host has such an address: of itself alone, or of its link."""
    return address.startswith(("127.", "169.254.", "fe80:")) or address == "::1"


def _text(path: str, row: Asked) -> str | TlsError | None:
    """Return a file's text, or why it cannot be read; None where there is none."""
    if row["error"] is not None:
        return LookRefused("%s cannot be read: %s" % (path, row["error"]))
    if row["content"] is None:
        return None
    data = base64.b64decode(row["content"])
    for mark, coding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(coding, "replace")
    return data.decode("utf-8", "surrogateescape")


def _adopted(row: Asked, state: Asked, sight: WindowsSight) -> Json:
    """Return what the certificates say that were there before us, by identity."""
    found = {}
    for name, files in sorted((row.get("adopted") or {}).items()):
        try:
            found[name] = _certificate(files, state)
        except TlsError as error:
            sight.unreadable["adopted " + name] = str(error)
    return found


def _certificate(files: t.Mapping[str, str], state: Asked) -> Json:
    """Return what the first certificate of a file says, and whether it is valid by the host's clock."""
    path = files["certificate"]
    for name, other in sorted(files.items()):
        shown = state["files"][other]
        if shown["error"] is not None:
            raise LookRefused("%s cannot be read: %s" % (other, shown["error"]))
        if shown["content"] is None:
            what = "" if name == "certificate" else ", its %s," % name.replace("_", " ")
            raise LookRefused("%s%s is not there" % (other, what))
    try:
        first = x509.load_pem_x509_certificates(base64.b64decode(state["files"][path]["content"]))[0]
    except (ValueError, binascii.Error) as error:
        raise LookRefused("%s holds no certificate in PEM" % path) from error
    read = read_certificate(first.public_bytes(Encoding.DER))
    now = state["clock"] / 1000
    return {**vars(read), "names": list(read.names), "valid": read.not_before <= now <= read.not_after}
