# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an instance needs another generation of material, and why; private to this collection."""

from __future__ import annotations

import typing as t

from ._change import Change

Inputs = t.Mapping[str, t.Any]

#: What goes into a generation, in the words of a reason; compared in this order.
_INPUTS: t.Final = (
    ("certificate", "the certificate is another"),
    ("chain", "the chain is another"),
    ("trust", "the CA list is another"),
    ("formats", "the formats are others"),
    ("password", "the keystore password is another"),
)


def plan_generation(
    name: str, *, installed: t.Mapping[str, t.Any] | None, drift: t.Sequence[str], wanted: Inputs
) -> Change | None:
    """Return the change that takes an instance to the wanted material, if one is needed.

    What went in is compared, not bytes: PKCS#12 differs at each writing.

    Args:
        name: the instance, ``component@host``.
        installed: the manifest of its current generation; None if there is none.
        drift: what is not as it was installed, a sentence a file.
        wanted: ``certificate``, ``chain``, ``trust``, ``formats`` and ``password``, as digests and names.
    """
    target = "material %s" % name
    if installed is None:
        return Change(target, None, _shown(wanted), "no generation is installed")
    if drift:
        return Change(target, _shown(installed.get("inputs") or {}), _shown(wanted), drift[0])
    found = installed.get("inputs") or {}
    for key, reason in _INPUTS:
        if _comparable(found.get(key)) != _comparable(wanted.get(key)):
            return Change(target, _shown(found), _shown(wanted), reason)
    return None


def _comparable(value: t.Any) -> t.Any:
    return sorted(value) if isinstance(value, (list, tuple)) else value


def _shown(inputs: Inputs) -> t.Dict[str, t.Any]:
    """Return inputs as a diff may show them: the digest of a password is nobody's business."""
    return {key: inputs.get(key) for key, _ in _INPUTS if key != "password"}
