# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements and expressions of PowerShell, as far as our modules use them; strict mode 2.0, as Ansible sets it."""

from __future__ import annotations

import operator
import re
import typing as t

from tree_sitter import Node

from .. import Failed, Refused
from ..machine import Machine
from ..model import Call
from . import clr, dotnet
from .basic import AnsibleModule
from .cmdlets import CMDLETS
from .syntax import named, only, parsed, part, text_of
from .values import VOID, Net, PsError, Table, Value, same, text, truth

_RUNTIME: t.Final = "System.Management.Automation.RuntimeException"
#: What an escaped character in a text in double quotes is; any other is itself.
_ESCAPED: t.Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
#: Nodes of the grammar that stand around others, by the ends of their names, and those of such a name that do not.
_WRAPPING: t.Final = ("expression", "pipeline", "chain", "condition", "string_literal", "integer_literal", "operator")
_WHOLE: t.Final = (
    "array_expression",
    "parenthesized_expression",
    "expandable_string_literal",
    "decimal_integer_literal",
)
#: By what name something says how much is in it.
_MEASURES: t.Final[t.Mapping[type, tuple[str, ...]]] = {bytes: ("length",), list: ("count", "length"), str: ("length",)}
_ORDERS: t.Final = {"-gt": operator.gt, "-ge": operator.ge, "-lt": operator.lt, "-le": operator.le}
_SIGNS: t.Final = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_CONSTANTS: t.Final[t.Mapping[str, Value]] = {"true": True, "false": False, "null": None, "args": VOID}


class _Return(Exception):
    """A function returns."""


class _Continue(Exception):
    """A loop goes on with its next item."""


class _Function(t.NamedTuple):
    """A function of the script."""

    name: str
    parameters: list[tuple[str, str]]
    body: Node | None
    home: dict[str, Value] | None = None


class ErrorRecord(Net):
    """What ``$_`` is in a catch."""

    name = "System.Management.Automation.ErrorRecord"

    def __init__(self, error: PsError) -> None:
        self.error = error

    def p_exception(self) -> Value:
        return self

    def m_getbaseexception(self) -> Value:
        """The innermost exception; that of .NET itself, where one is."""
        return self if self.error.real is None else _modelled(self.error.real, "m_", "GetBaseException")()

    def p_message(self) -> str:
        return str(self.error)


class ScriptBlock(Net):
    """A block of statements that .NET may call."""

    name = "System.Management.Automation.ScriptBlock"

    def __init__(self, session: Session, node: Node) -> None:
        self._session = session
        self._node = node

    def delegate(self, *given: t.Any) -> t.Any:
        """Run it with what .NET hands over; what goes wrong with the twin itself is kept, for .NET would hide it."""
        try:
            return clr.to_net(self._session.block(self._node, [clr.from_net(each) for each in given]))
        except Refused as error:
            clr.stopped.append(error)
            raise


class Session:
    """One module that runs: its functions, and its variables, which functions see from those that call them."""

    def __init__(self, machine: Machine, call: Call) -> None:
        self._machine = machine
        self._call = call
        self._functions: dict[str, _Function] = {}
        self._scopes: list[dict[str, Value]] = [{}]
        self._home: dict[str, Value] | None = None
        self._exported: set[str] = set()

    def run(self, script: bytes) -> None:
        """Run a script to its end."""
        try:
            self._statements(parsed(script), [])
        except PsError as error:
            raise Failed("Unhandled exception while executing module: %s" % error) from error

    def load(self, script: bytes) -> None:
        """Load a utility as a module of its own: its functions do not see the script's variables, and are seen where
        they are exported."""
        outer = self._scopes
        self._home = {}
        self._scopes, self._exported = [self._home], set()
        before = set(self._functions)
        self.run(script)
        missing = sorted(self._exported - set(self._functions))
        if missing:
            raise Refused("a utility exports %s, which it does not have" % ", ".join(missing))
        for name in set(self._functions) - before - self._exported:
            self._functions["." + name] = self._functions.pop(name)
        self._scopes, self._home = outer, None

    # ------------------------------------------------ statements

    def _statements(self, node: Node | None, out: list[Value]) -> None:
        for child in named(node) if node is not None else ():
            if child.type in ("statement_list", "script_block_body", "statement_block"):
                self._statements(child, out)
                continue
            handler = getattr(self, "_do_" + child.type, None)
            if handler is None:
                raise Refused("the twin's PowerShell knows no %s: %s" % (child.type, text_of(child)[:80]))
            handler(child, out)

    def _do_pipeline(self, node: Node, out: list[Value]) -> None:
        child = named(node)[0]
        if child.type == "assignment_expression":
            self._assign(child)
            return
        value = self._pipeline(node)
        if isinstance(value, _Outputs):
            out.extend(value)
        elif value is not VOID:
            out.extend(_unrolled(value))

    def _do_function_statement(self, node: Node, _out: list[Value]) -> None:
        name = text_of(only(node, "function_name"))
        block = part(node, "script_block")
        declared = part(block, "param_block") if block is not None else None
        rows = part(declared, "parameter_list") if declared is not None else None
        parameters = [_parameter(each) for each in named(rows)] if rows is not None else []
        body = part(block, "script_block_body") if block is not None else None
        self._functions[name.lower()] = _Function(name, parameters, body, self._home)

    def _do_if_statement(self, node: Node, out: list[Value]) -> None:
        if truth(self._pipeline(_condition(node))):
            self._statements(only(node, "statement_block"), out)
            return
        others = part(node, "elseif_clauses")
        for clause in named(others) if others is not None else ():
            if truth(self._pipeline(_condition(clause))):
                self._statements(only(clause, "statement_block"), out)
                return
        otherwise = part(node, "else_clause")
        if otherwise is not None:
            self._statements(only(otherwise, "statement_block"), out)

    def _do_foreach_statement(self, node: Node, out: list[Value]) -> None:
        variable = _name(only(node, "variable"))
        for item in _unrolled(self._value(only(node, "pipeline"))):
            self._scopes[-1][variable] = item
            try:
                self._statements(only(node, "statement_block"), out)
            except _Continue:
                continue

    def _do_while_statement(self, node: Node, out: list[Value]) -> None:
        while truth(self._pipeline(_condition(node))):
            try:
                self._statements(only(node, "statement_block"), out)
            except _Continue:
                continue

    def _do_switch_statement(self, node: Node, out: list[Value]) -> None:
        value = self._value(only(only(node, "switch_condition"), "pipeline"))
        clauses = only(only(node, "switch_body"), "switch_clauses")
        for clause in named(clauses):
            if same(_word(only(clause, "switch_clause_condition")), value):
                self._statements(only(clause, "statement_block"), out)

    def _do_try_statement(self, node: Node, out: list[Value]) -> None:
        clauses, last = part(node, "catch_clauses"), part(node, "finally_clause")
        try:
            self._statements(only(node, "statement_block"), out)
        except PsError as error:
            clause = _clause_for(error, named(clauses) if clauses is not None else [])
            if clause is None:
                raise
            self._scopes[-1]["_"] = ErrorRecord(error)
            self._statements(only(clause, "statement_block"), out)
        finally:
            if last is not None:
                self._statements(only(last, "statement_block"), out)

    def _do_flow_control_statement(self, node: Node, out: list[Value]) -> None:
        word = text_of(node.children[0]).lower()
        given = part(node, "pipeline")
        if word == "return":
            if given is not None:
                self._do_pipeline(given, out)
            raise _Return
        if word == "continue":
            raise _Continue
        if word == "throw":
            if given is not None:
                raise PsError(_RUNTIME, text(self._value(given)))
            raise self._caught().error
        raise Refused("the twin's PowerShell knows no %s" % word)

    def _caught(self) -> ErrorRecord:
        found = self._variable("_")
        if not isinstance(found, ErrorRecord):
            raise Refused("the twin's PowerShell throws anew in a catch alone")
        return found

    def _assign(self, node: Node) -> None:
        if text_of(only(node, "assignement_operator")) != "=":
            raise Refused("the twin's PowerShell assigns with = alone: %s" % text_of(node)[:80])
        self._set(_narrowest(only(node, "left_assignment_expression")), self._value(only(node, "pipeline")))

    def _set(self, target: Node, value: Value) -> None:
        if target.type == "variable":
            self._scopes[-1][_name(target)] = value
        elif target.type == "member_access":
            place = self._expression(target.children[0])
            member = text_of(only(target, "member_name"))
            if isinstance(place, Table):
                place.set(member, value)
            else:
                _setter(place, member)(value)
        elif target.type == "element_access":
            place, key = self._expression(target.children[0]), self._expression(named(target)[1])
            if not isinstance(place, Table):
                raise Refused("the twin's PowerShell sets items of tables alone: %s" % text_of(target))
            place.set(text(key), value)
        else:
            raise Refused("the twin's PowerShell assigns nothing to %s" % text_of(target))

    def block(self, node: Node, given: list[Value]) -> Value:
        """Run a script block; it sees the variables of the functions that are running."""
        body = only(node, "script_block")
        declared = part(node, "param_block") or part(body, "param_block")
        rows = part(declared, "parameter_list") if declared is not None else None
        names = [_parameter(each)[0] for each in named(rows)] if rows is not None else []
        self._scopes.append(dict(zip(names, given, strict=True)))
        out = _Outputs()
        try:
            self._statements(part(body, "script_block_body"), out)
        except _Return:
            pass
        finally:
            self._scopes.pop()
        return None if not out else out[0] if len(out) == 1 else list(out)

    # ------------------------------------------------ pipelines and commands

    def _value(self, node: Node) -> Value:
        """Return what a pipeline gives where one value is wanted."""
        value = self._pipeline(node)
        if isinstance(value, _Outputs):
            return None if not value else value[0] if len(value) == 1 else list(value)
        return None if value is VOID else value

    def _pipeline(self, node: Node) -> Value:
        inner = _narrowest(node)
        if inner.type == "pipeline_chain":
            raise Refused("the twin's PowerShell knows no pipes: %s" % text_of(node)[:80])
        return self._command(inner) if inner.type == "command" else self._expression(inner)

    def _command(self, node: Node) -> Value:
        name = text_of(only(node, "command_name"))
        elements = part(node, "command_elements")
        given = self._parameters(named(elements) if elements is not None else [])
        if name.lower() == "export-modulemember" and self._home is not None:
            self._exported.update(each.lower() for each in _unrolled(given["function"]))
            return VOID
        function = self._function(name.lower())
        if function is not None:
            return self._called(function, given)
        cmdlet = CMDLETS.get(name.lower())
        if cmdlet is None:
            raise Refused("the twin's PowerShell knows no command %s" % name)
        return cmdlet(self._machine, {key: True if value is VOID else value for key, value in given.items()})

    def _function(self, name: str) -> _Function | None:
        """Return a function by its name in small letters; those that a utility keeps are seen by its own alone."""
        if self._home is not None and "." + name in self._functions:
            return self._functions["." + name]
        return self._functions.get(name)

    def _parameters(self, elements: list[Node]) -> dict[str, Value]:
        given: dict[str, Value] = {}
        waiting = None
        for each in elements:
            if each.type == "command_parameter":
                waiting = text_of(each)[1:].lower()
                given[waiting] = VOID
            elif waiting is None:
                raise Refused("the twin's PowerShell takes parameters by their names: %s" % text_of(each)[:80])
            else:
                given[waiting] = text_of(each) if _narrowest(each).type == "generic_token" else self._expression(each)
                waiting = None
        return given

    def _called(self, function: _Function, given: dict[str, Value]) -> Value:
        unknown = set(given) - {name for name, _kind in function.parameters}
        if unknown:
            kind = "System.Management.Automation.ParameterBindingException"
            raise PsError(kind, "%s has no parameter %s" % (function.name, ", ".join(sorted(unknown))))
        scope = {name: dotnet.cast(self._machine, kind, given.get(name)) for name, kind in function.parameters}
        outer, home, out = self._scopes, self._home, _Outputs()
        self._scopes = [*outer, scope] if function.home is None else [function.home, scope]
        self._home = function.home
        try:
            self._statements(function.body, out)
        except _Return:
            pass
        finally:
            self._scopes, self._home = outer, home
        return out

    # ------------------------------------------------ expressions

    def _expression(self, node: Node) -> Value:
        inner = _narrowest(node)
        handler = getattr(self, "_of_" + inner.type, None)
        if handler is None:
            raise Refused("the twin's PowerShell knows no %s: %s" % (inner.type, text_of(inner)[:80]))
        return handler(inner)

    def _variable(self, name: str) -> Value:
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise PsError(_RUNTIME, "The variable '$%s' cannot be retrieved because it has not been set." % name)

    def _of_variable(self, node: Node) -> Value:
        return self._variable(_name(node))

    def _of_decimal_integer_literal(self, node: Node) -> int:
        return int(text_of(node))

    def _of_real_literal(self, node: Node) -> float:
        return float(text_of(node))

    def _of_script_block_expression(self, node: Node) -> ScriptBlock:
        return ScriptBlock(self, node)

    def _of_expandable_string_literal(self, node: Node) -> str:
        raw, base = node.text or b"", node.start_byte
        found, at = [], 1
        for child in node.children:
            found.append(_unescaped(raw[at : child.start_byte - base]))
            inside = child if child.type == "variable" else part(child, "statement_list")
            if inside is None:
                raise Refused("the twin's PowerShell reads no %s in a text" % child.type)
            found.append(text(self._expression(inside) if inside is child else self._value(named(inside)[0])))
            at = child.end_byte - base
        return "".join([*found, _unescaped(raw[at:-1])])

    def _of_verbatim_string_characters(self, node: Node) -> str:
        return text_of(node)[1:-1].replace("''", "'")

    def _of_hash_literal_expression(self, node: Node) -> Table:
        found = Table()
        body = part(node, "hash_literal_body")
        for entry in named(body) if body is not None else ():
            found.set(text_of(only(entry, "key_expression")).strip('"'), self._value(only(entry, "pipeline")))
        return found

    def _of_array_expression(self, node: Node) -> list[Value]:
        out: list[Value] = []
        self._statements(node, out)
        return out

    def _of_array_literal_expression(self, node: Node) -> list[Value]:
        return [self._expression(child) for child in named(node)]

    def _of_parenthesized_expression(self, node: Node) -> Value:
        return self._value(named(node)[0])

    def _of_cast_expression(self, node: Node) -> Value:
        kind, value = named(node)
        return dotnet.cast(self._machine, text_of(kind)[1:-1], self._expression(value))

    def _of_type_literal(self, node: Node) -> Value:
        return dotnet.type_of(text_of(node)[1:-1])

    def _of_expression_with_unary_operator(self, node: Node) -> bool:
        if text_of(node.children[0]).lower() not in ("-not", "!"):
            raise Refused("the twin's PowerShell knows no %s" % text_of(node.children[0]))
        return not truth(self._expression(node.children[-1]))

    def _of_logical_expression(self, node: Node) -> bool:
        left, sign, right = node.children
        first = truth(self._expression(left))
        if text_of(sign).lower() == "-and":
            return first and truth(self._expression(right))
        if text_of(sign).lower() == "-or":
            return first or truth(self._expression(right))
        raise Refused("the twin's PowerShell knows no %s" % text_of(sign))

    def _of_comparison_expression(self, node: Node) -> bool:
        left, sign, right = node.children
        word = text_of(sign).lower()
        first, second = self._expression(left), self._expression(right)
        if word == "-is":
            if isinstance(second, clr.ClrType):
                return second.holds(first)
            return isinstance(first, second) if isinstance(second, type) else False
        if word in ("-in", "-notin") and isinstance(second, list):
            return any(same(each, first) for each in second) is (word == "-in")
        if word in ("-eq", "-ne") and not isinstance(first, list):
            return same(first, second) is (word == "-eq")
        if word in _ORDERS and isinstance(first, (int, float)) and isinstance(second, (int, float)):
            return bool(_ORDERS[word](first, second))
        raise Refused("the twin's PowerShell knows no such comparison: %s" % text_of(node)[:80])

    def _of_bitwise_expression(self, node: Node) -> int:
        left, sign, right = node.children
        first, second = self._expression(left), self._expression(right)
        if text_of(sign).lower() == "-band" and isinstance(first, int) and isinstance(second, int):
            return first & second
        raise Refused("the twin's PowerShell does not reckon %s" % text_of(node)[:80])

    _of_comparison_argument_expression = _of_comparison_expression

    def _of_additive_expression(self, node: Node) -> Value:
        left, sign, right = node.children
        first, second = self._expression(left), self._expression(right)
        if text_of(sign) == "+" and isinstance(first, str):
            return first + text(second)
        if text_of(sign) == "+" and isinstance(first, list):
            return first + (second if isinstance(second, list) else [second])
        reckon = _SIGNS.get(text_of(sign))
        if reckon is not None and isinstance(first, (int, float)) and isinstance(second, (int, float)):
            return reckon(first, second)
        raise Refused("the twin's PowerShell does not reckon %s" % text_of(node)[:80])

    _of_additive_argument_expression = _of_additive_expression
    _of_multiplicative_expression = _of_additive_expression
    _of_multiplicative_argument_expression = _of_additive_expression

    def _of_element_access(self, node: Node) -> Value:
        place, key = self._expression(node.children[0]), self._expression(named(node)[1])
        if isinstance(place, Table):
            return place.get(text(key))
        if isinstance(place, clr.Clr) and isinstance(key, int):
            return place.at(key)
        if isinstance(place, (list, bytes)) and isinstance(key, int):
            return place[key] if -len(place) <= key < len(place) else None
        raise Refused("the twin's PowerShell has no items in %s" % text_of(node.children[0]))

    def _of_member_access(self, node: Node) -> Value:
        place, member = self._expression(node.children[0]), text_of(only(node, "member_name"))
        if text_of(node.children[1]) == "::":
            return _modelled(place, "sp_", member)(self._machine)
        return _property(place, member)

    def _of_invokation_expression(self, node: Node) -> Value:
        place, member = self._expression(node.children[0]), text_of(only(node, "member_name"))
        given = part(only(node, "argument_list"), "argument_expression_list")
        arguments = [self._expression(each) for each in named(given)] if given is not None else []
        try:
            return self._invoked(place, member, arguments, static=text_of(node.children[1]) == "::")
        except Failed as error:
            raise PsError("System.IO.IOException", str(error)) from error

    def _invoked(self, place: Value, member: str, arguments: list[Value], *, static: bool) -> Value:
        if place is AnsibleModule and member.lower() == "create":
            return AnsibleModule(self._call, arguments[1])
        if static and member.lower() == "new":
            return place.new(self._machine, *arguments)
        if static:
            found = _modelled(place, "s_", member)(self._machine, *arguments)
        elif isinstance(place, Net):
            found = _modelled(place, "m_", member)(*arguments)
            return VOID if found is None and member.lower() in dotnet.WITHOUT_RESULT else found
        else:
            found = dotnet.method(place, member, arguments)
        return VOID if found is None and member.lower() in dotnet.WITHOUT_RESULT else found


class _Outputs(list[Value]):
    """What a command wrote, which is one value, several or none."""


def _unrolled(value: Value) -> list[Value]:
    """Return what goes on of a value: the items of a list, else itself; nothing of $null in a foreach."""
    if isinstance(value, list):
        return list(value)
    items = value.items() if isinstance(value, Net) else None
    return [value] if items is None else items


def _narrowest(node: Node) -> Node:
    """Return the part of a node that is not a mere wrapping of one other."""
    while node.child_count == 1 and node.type not in _WHOLE and node.type.endswith(_WRAPPING):
        node = node.children[0]
    return node


def _word(node: Node) -> str:
    """Return the text that a clause of a switch is for."""
    found = re.fullmatch(r"\"([A-Za-z0-9_ ]*)\"", text_of(node))
    if found is None:
        raise Refused("the twin's PowerShell switches by words in double quotes: %s" % text_of(node)[:80])
    return found[1]


def _condition(node: Node) -> Node:
    found = node.child_by_field_name("condition")
    if found is None:
        raise Refused("the twin's PowerShell expected a condition in %s" % text_of(node)[:80])
    return found


def _name(node: Node) -> str:
    return text_of(node)[1:].strip("{}").lower()


def _parameter(node: Node) -> tuple[str, str]:
    attributes = part(node, "attribute_list")
    kind = text_of(attributes)[1:-1] if attributes is not None else ""
    return _name(only(node, "variable")), kind


def _clause_for(error: PsError, clauses: list[Node]) -> Node | None:
    """Return the first catch that is for an error: one that names its type, or one that names none."""
    for clause in clauses:
        kinds = part(clause, "catch_type_list")
        if kinds is None or error.kind.lower() in [text_of(each)[1:-1].lower() for each in named(kinds)]:
            return clause
    return None


def _unescaped(raw: bytes) -> str:
    source, found, at = raw.decode("utf-8"), [], 0
    while at < len(source):
        if source[at] == "`":
            at += 1
            found.append(_ESCAPED.get(source[at], source[at]))
        else:
            found.append(source[at])
        at += 1
    return "".join(found)


def _modelled(place: Value, prefix: str, member: str) -> t.Callable[..., Value]:
    found = getattr(place, prefix + member.lower(), None)
    if found is None:
        raise Refused("the twin's PowerShell models no %s of [%s]" % (member, getattr(place, "name", type(place))))
    return t.cast("t.Callable[..., Value]", found)


def _setter(place: Value, member: str) -> t.Callable[[Value], None]:
    return t.cast("t.Callable[[Value], None]", _modelled(place, "set_", member))


def _property(place: Value, member: str) -> Value:
    low = member.lower()
    if isinstance(place, Table):
        if place.has(member):
            return place.get(member)
        known: dict[str, t.Callable[[], Value]] = {
            "count": lambda: len(place.rows()),
            "keys": lambda: [key for key, _value in place.rows()],
            "values": lambda: [value for _key, value in place.rows()],
        }
        if low in known:
            return known[low]()
    elif type(place) in _MEASURES and low in _MEASURES[type(place)]:
        return len(place)
    elif isinstance(place, Net):
        return _modelled(place, "p_", member)()
    raise PsError(
        _RUNTIME, "The property '%s' cannot be found on this object. Verify that the property exists." % member
    )
