# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a node whose links can only flip, as the engine describes them and its host does them, and back."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._briefing import step_spec
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance, Pair
from ansible_collections.connsec.tls.plugins.module_utils._core._kind_settings import settle
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Document, parse_model
from ansible_collections.connsec.tls.plugins.module_utils._core._observed import parse_instance
from ansible_collections.connsec.tls.plugins.module_utils._core._packing import pack
from ansible_collections.connsec.tls.plugins.module_utils._core._plan import step_for
from ansible_collections.connsec.tls.plugins.module_utils._core._scene import Scene
from ansible_collections.connsec.tls.plugins.module_utils._core._stages import step_name
from ansible_collections.connsec.tls.plugins.module_utils._core._steps import Step
from ansible_collections.connsec.tls.plugins.module_utils._host._installed import installed
from ansible_collections.connsec.tls.plugins.module_utils._host._step import Step as StepOnHost
from ansible_collections.connsec.tls.plugins.module_utils._host._way_back import refusals

from .test_kind_pages import kind_of

HOSTS: t.Final = ("n1", "n2", "n3")
NODE: t.Final = "bus@n1"
THEIRS: t.Final = "# by hand\nNODENAME=rabbit@n1\nCTL_ERL_ARGS=-kernel x\n"
MODEL: t.Final = {
    "hosts": {name: {"os": "linux", "addresses": [name]} for name in HOSTS},
    "components": {
        "bus": {
            "kind": "rabbitmq_cluster",
            "hosts": list(HOSTS),
            "listeners": {"nodes": {"port": 25672, "protocol": "erlang", "mode": "mutual"}},
        }
    },
    "connections": [{"client": "bus", "server": "bus.nodes"}],
}


class Node:
    """One node of three, its files in a folder, and nothing of it running."""

    def __init__(self, folder: Path) -> None:
        self.options, self.config = folder / "etc" / "inter_node_tls.config", folder / "rabbitmq-env.conf"
        self.config.write_text(THEIRS)
        self.directory = folder / "connsec"
        given = {"options": str(self.options), "config": str(self.config)}
        model = parse_model([Document("tls_connections.yml", MODEL)])
        kind = kind_of("rabbitmq_cluster")
        ends = model.instances_of("bus")
        self.scene = Scene(
            model,
            {each.name: settle(kind, given, instance=each.name, where="tls_settings.bus") for each in ends},
            {},
            {name: (name,) for name in HOSTS},
            dict.fromkeys(HOSTS, str(self.directory)),
        )

    def flip(self) -> list[Step]:
        """Return its steps in the order in which its host gets them."""
        return self._packed(self.scene, self._steps())

    def back(self) -> list[Step]:
        """Return their reverses in the order in which its host gets them, by what it shows."""
        seen = parse_instance(installed(str(self.directory), "bus"))
        assert seen.steps == {step.id for step in self.flip()}
        scene = dataclasses.replace(self.scene, instances={NODE: seen})
        return self._packed(scene, [step.reversed() for step in self._steps()], back=True)

    def _steps(self) -> list[Step]:
        """Return the steps of all nodes."""
        pairs: dict[tuple[Instance, str, str], list[Pair]] = {}
        for pair in self.scene.model.pairs:
            for stage in ("enforce", "connect"):
                key = pair.end_of(stage), step_name(self.scene, stage, pair), stage
                pairs.setdefault(key, []).append(pair)
        return [step_for(self.scene, name, stage, end, its, "due") for (end, name, stage), its in pairs.items()]

    def _packed(self, scene: Scene, steps: list[Step], *, back: bool = False) -> list[Step]:
        (this,) = pack(scene, steps, back=back)
        assert this.together
        return [step for step in this.steps if step.instance.name == NODE]

    def do(self, step: Step) -> None:
        """Have its host do a step, without a process that could be told."""
        spec = step_spec(self.scene, step)
        still = dataclasses.replace(spec, test=[], reload={}, restart={}, process={}, wait_for=[])
        StepOnHost(still).carry_out(spec.state)

    def refused(self) -> dict[str, str]:
        """Return what its host could not take back, as a plan of going back asks it."""
        return refusals(str(self.directory), "bus", [[step.id for step in self.flip()]])


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node that flipped."""
    made = Node(tmp_path)
    for step in made.flip():
        made.do(step)
    assert "verify_peer" in made.options.read_text() and made.config.read_text().count("inet_tls") == 2
    return made


def test_a_node_flips_and_goes_back_to_what_it_was_byte_by_byte(node: Node) -> None:
    done = ["enforce-nodes", "connect-bus.nodes@n2", "connect-bus.nodes@n3"]
    assert [step.id for step in node.flip()] == done
    assert node.refused() == {}
    assert [step.id for step in node.back()] == done[::-1]
    for step in node.back():
        node.do(step)
    assert (node.config.read_text(), node.options.parent.exists()) == (THEIRS, False)
    assert list((node.directory / "bus" / "steps").iterdir()) == []


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_it_does_so_in_whichever_order_its_steps_go(node: Node, order: list[int]) -> None:
    back = node.back()
    for at in order:
        node.do(back[at])
    assert (node.config.read_text(), node.options.parent.exists()) == (THEIRS, False)


def test_what_somebody_wrote_into_the_file_that_the_flip_made_refuses_it_in_words(node: Node) -> None:
    held = node.options.read_text()
    node.options.write_text(held + "% theirs\n")
    said = node.refused()
    assert list(said) == ["enforce-nodes"]
    assert (
        "somebody has written into it since: +% theirs; move that to another file, or take it out"
        in said["enforce-nodes"]
    )
    node.config.write_text("# theirs\n" + node.config.read_text())
    node.options.write_text(held)
    assert node.refused() == {}, "lines of others stay in a file that was there before"
