# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an instance and its process hold what they should: material and environment; private to this collection."""

from __future__ import annotations

import typing as t

from ._dormant import is_resting
from ._entities import Instance
from ._environment import holds, library_variables
from ._observed import SeenInstance
from ._scene import Scene, Wanted

Part = t.Literal["trust", "certificate", "formats", "lists"]

#: The files of a generation that a part consists of; drift of others says nothing about it.
_FILES: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "trust": ("trust.pem", "truststore.p12", "manifest.json"),
    "certificate": (
        "certificate.pem",
        "chain.pem",
        "fullchain.pem",
        "key.pem",
        "keystore.p12",
        "keystore.password",
        "manifest.json",
    ),
}


def material_faults(scene: Scene, instance: Instance) -> dict[str, str]:
    """Return what of the installed material is not as planned, a sentence a part; nothing if all is.

    The parts are ``trust``, ``certificate``, ``formats`` and ``lists``.
    """
    seen = scene.seen(instance)
    if "installed" in seen.unreadable:
        return dict.fromkeys(_FILES, seen.unreadable["installed"])
    if not seen.generation:
        return dict.fromkeys(_FILES, "no generation is installed")
    found = _differences(seen, scene.wanted[instance.name])
    for name, sentence in seen.drift.items():
        for part, files in _FILES.items():
            if name in files:
                found[part] = sentence
    return found


def material_fault(scene: Scene, instance: Instance, part: Part | None = None) -> str:
    """Return why the installed material, or a part of it, is not the planned one; empty if it is."""
    found = material_faults(scene, instance)
    return found.get(part, "") if part else next(iter(found.values()), "")


def _differences(seen: SeenInstance, wanted: Wanted) -> dict[str, str]:
    inputs = seen.inputs or {}
    found = {}
    if not wanted.is_issued:
        found["certificate"] = "the planned certificate is not issued"
    elif inputs.get("certificate") != wanted.certificate:
        found["certificate"] = "the certificate is another" if inputs.get("certificate") else "it has no certificate"
    if wanted.trust is None or sorted(inputs.get("trust") or ()) != sorted(wanted.trust):
        found["trust"] = "the CA list is another"
    if sorted(inputs.get("formats") or ()) != sorted(wanted.formats):
        found["formats"] = "the formats are others"
    if wanted.lists is not None and sorted(inputs.get("crl") or ()) != sorted(wanted.lists):
        found["lists"] = "a newer revocation list is there"
    return found


def has_old_material(scene: Scene, instance: Instance) -> bool:
    """Return whether the process runs with an earlier generation than the installed one.

    It has loaded the installed one if our last reload says so, or if it was started after the generation was installed.
    One that rests runs with nothing.
    """
    seen = scene.seen(instance)
    if not seen.generation or seen.loaded == seen.generation or is_resting(scene, instance):
        return False
    started, installed = seen.process.started, seen.installed_at
    return not (started and installed and started > installed)


def variables(scene: Scene, instance: Instance) -> dict[str, str]:
    """Return the environment variables that the instance's kind asks for, paths put in."""
    asked = scene.kinds[instance.name].environment
    paths = {**scene.paths(instance), **(asked.get("paths") or {})}
    found = library_variables(asked.get("libraries") or (), paths, system=scene.model.hosts[instance.host].os)
    for name, value in (asked.get("variables") or {}).items():
        text = str(value)
        for word, path in paths.items():
            text = text.replace("{%s}" % word, str(path))
        found[str(name)] = text
    return found


def lacks_variable(scene: Scene, instance: Instance) -> str:
    """Return which variable the running process lacks; empty if none, or if nobody can see its environment."""
    seen = scene.seen(instance)
    if not seen.process.pids or "variables" in seen.unreadable:
        return ""
    for name, value in sorted(variables(scene, instance).items()):
        if not holds(name, found=seen.process.variables.get(name), wanted=value):
            return "the running process does not have %s" % name
    return ""


def hides_environment(scene: Scene, instance: Instance) -> str:
    """Return why nobody can see whether the process has its variables; empty if somebody can, or it needs none."""
    seen = scene.seen(instance)
    if not variables(scene, instance) or is_resting(scene, instance):
        return ""
    if not seen.process.pids:
        return seen.unreadable.get("process") or "no process of it runs"
    return seen.unreadable.get("variables", "")


def lacks_environment(scene: Scene, instance: Instance) -> str:
    """Return what the file that gives the instance its environment lacks; empty if nothing, or if it needs none."""
    if not variables(scene, instance):
        return ""
    seen = scene.seen(instance)
    if seen.missing is None:
        return seen.unreadable.get("environment") or "nobody looked at its environment"
    return "%s is not set for it" % seen.missing[0] if seen.missing else ""
