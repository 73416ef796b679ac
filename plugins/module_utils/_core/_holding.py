# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an instance and its process hold what they should: material and environment; private to this collection."""

from __future__ import annotations

import typing as t

from ._dormant import is_resting
from ._entities import Instance
from ._environment import holds, library_variables
from ._manifest import FILES_OF_IDENTITY, LISTS, MANIFEST, of_folder
from ._observed import SeenInstance
from ._scene import Scene, Wanted

Part = t.Literal["trust", "certificate", "formats", "lists"]
#: A part, and of a certificate in which folder its files lie.
Place = t.Tuple[Part, str]


def material_fault(scene: Scene, instance: Instance, part: Part | None = None, folder: str = "") -> str:
    """Return why the installed material, or a part of it, is not the planned one; empty if it is.

    Args:
        scene: what is wanted and was seen.
        instance: whose material it is.
        part: the part; all of them if None.
        folder: of a certificate, where its files lie in a generation.
    """
    seen = scene.seen(instance)
    if "installed" in seen.unreadable:
        return seen.unreadable["installed"]
    if not seen.generation:
        return "no generation is installed"
    if MANIFEST in seen.drift:
        return seen.drift[MANIFEST]
    found = {**_differences(seen, scene.wanted[instance.name]), **_drifted(seen)}
    return found.get((part, folder), "") if part else next(iter(found.values()), "")


def _drifted(seen: SeenInstance) -> dict[Place, str]:
    """Return what is not as it was installed, by part; drift of one file says nothing about the others."""
    found: dict[Place, str] = {}
    for path, sentence in seen.drift.items():
        folder, _unused, name = path.rpartition("/")
        if name in FILES_OF_IDENTITY:
            found["certificate", folder] = sentence
        else:
            found["lists" if name == LISTS else "trust", ""] = sentence
    return found


def _differences(seen: SeenInstance, wanted: Wanted) -> dict[Place, str]:
    inputs = seen.inputs or {}
    found = {**_other_certificates(inputs.get("identities") or {}, wanted)}
    if wanted.trust is None or sorted(inputs.get("trust") or ()) != sorted(wanted.trust):
        found["trust", ""] = "the CA list is another"
    if sorted(inputs.get("formats") or ()) != sorted(wanted.formats):
        found["formats", ""] = "the formats are others"
    if wanted.lists is not None and sorted(inputs.get("crl") or ()) != sorted(wanted.lists):
        found["lists", ""] = "a newer revocation list is there"
    return found


def _other_certificates(installed: t.Mapping[str, t.Mapping[str, t.Any]], wanted: Wanted) -> dict[Place, str]:
    """Return which certificates are not the planned ones; one that nobody plans any more is no fault."""
    found: dict[Place, str] = {}
    for folder, held in sorted(wanted.placed.items()):
        there = installed.get(folder)
        if held.certificate is None:
            found["certificate", folder] = "the planned certificate%s is not issued" % of_folder(folder)
        elif there is None:
            found["certificate", folder] = "it has no certificate%s" % of_folder(folder)
        elif there.get("certificate") != held.certificate:
            found["certificate", folder] = "the certificate%s is another" % of_folder(folder)
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
