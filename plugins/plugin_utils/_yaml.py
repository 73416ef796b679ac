# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading large YAML files fast, and with the mistakes told that YAML itself lets pass; private to this collection.

libyaml parses; what it found becomes plain data here, several times faster than by PyYAML's general constructor.
Dates, times of day and numbers with a leading zero stay text, as people mean them.
"""

from __future__ import annotations

import re
import typing as t

import yaml

from ..module_utils._core._names import shown

Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: A model has about ten levels.
MOST_DEPTH: t.Final = 500

_TAG: t.Final = "tag:yaml.org,2002:"
_FLAGS: t.Final = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


class YamlError(Exception):
    """A text is not the YAML that we read; ``mistakes`` has a line for each reason."""

    def __init__(self, mistakes: t.Sequence[str]) -> None:
        """Keep the mistakes."""
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(mistakes))


def read_yaml(text: str) -> t.Any:
    """Return the plain data that a text holds.

    Raises:
        YamlError: it cannot be parsed, a key stands twice in one mapping, or a value has a tag of its own.
    """
    _refuse_depth(text)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        builder = _Builder(loader)
        data = builder.build(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(["line %d: %s" % (mark.line + 1, error.problem) if mark else str(error.problem)]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError([" ".join(str(error).split())]) from error
    except RecursionError as error:
        raise YamlError(["it is nested too deeply"]) from error
    finally:
        loader.dispose()
    if builder.mistakes:
        raise YamlError(builder.mistakes)
    return data


def _refuse_depth(text: str) -> None:
    """Refuse what is nested so deeply that libyaml's recursion would end the process instead of failing."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > MOST_DEPTH or re.search(r"(?:[-?:][ \t]+){%d}|^ {%d}" % (MOST_DEPTH, MOST_DEPTH), text, re.MULTILINE):
        raise YamlError(["it is nested more than %d levels deep" % MOST_DEPTH])


class _Builder:
    """Turns nodes into data; a node that aliases repeat is built once and shared, so that none can fill the memory."""

    def __init__(self, loader: t.Any) -> None:
        self._loader = loader
        self._shared: dict[int, t.Any] = {}
        self.mistakes: list[str] = []

    def build(self, node: t.Any) -> t.Any:
        """Return the data of a node."""
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._shared:
            return self._shared[id(node)]
        data: t.Any
        if isinstance(node, yaml.SequenceNode):
            data = self._shared[id(node)] = []
            data.extend(map(self.build, node.value))
        else:
            data = self._shared[id(node)] = {}
            self._mapping(node, data)
        if node.tag not in (_TAG + "seq", _TAG + "map"):
            self._refuse_tag(node)
        return data

    def _mapping(self, node: t.Any, data: dict[t.Any, t.Any]) -> None:
        merged = any(key.tag == _TAG + "merge" for key, _unused in node.value)
        if merged:
            own = [(key, value) for key, value in node.value if key.tag != _TAG + "merge"]
            self._refuse_doubles(own)
            self._loader.flatten_mapping(node)
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append("line %d: a key is a list or a mapping" % (key_node.start_mark.line + 1))
                continue
            data[self._scalar(key_node)] = self.build(value_node)
        if len(data) != len(node.value) and not merged:
            self._refuse_doubles(node.value)

    def _refuse_doubles(self, pairs: t.Sequence[tuple[t.Any, t.Any]]) -> None:
        """Note keys that stand twice in a mapping: YAML would silently take the last one."""
        lines: dict[t.Any, int] = {}
        for key, _unused in pairs:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                what = "line %d: %s stands there twice, first in line %d" % (line, shown(key.value), lines[key.value])
                self.mistakes.append(what)
            lines.setdefault(key.value, line)

    def _scalar(self, node: t.Any) -> t.Any:
        text: str = node.value
        kind = node.tag
        if kind == _TAG + "str" or kind == _TAG + "timestamp":
            return text
        if kind == _TAG + "int":
            return int(text) if text.isdecimal() and (text == "0" or text[0] != "0") else text
        if kind == _TAG + "bool":
            return _FLAGS[text.lower()]
        if kind == _TAG + "null":
            return None
        if kind == _TAG + "float":
            return text
        if kind != _TAG + "value":
            self._refuse_tag(node)
        return text

    def _refuse_tag(self, node: t.Any) -> None:
        line = node.start_mark.line + 1
        self.mistakes.append(
            "line %d: the tag %s is not known here; the model holds plain values and no secrets" % (line, node.tag)
        )
