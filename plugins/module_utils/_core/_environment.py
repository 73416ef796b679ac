# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment variables of security libraries, and the files that give them to processes; private to this collection.

Four kinds of files set variables: a systemd drop-in, an environment file, a script of login shells, and
``/etc/environment``. In each of them an instance has lines of its own between two marks; everything else is kept as it
is. A variable that is a list (a loader's path, Java's options) keeps what others put there, with ours in it once.
Solaris' SMF keeps variables in its repository (``_core/_smf.py``); a subsystem of AIX's SRC is started through a file.
Windows keeps them in its registry (``_core/_windows_variables.py``).
"""

from __future__ import annotations

import re
import shlex
import typing as t
from dataclasses import dataclass

from ._change import Change
from ._errors import TlsError

TargetName = t.Literal["unit", "file", "login", "system", "smf", "src", "machine", "service"]


class EnvironmentRefused(TlsError):
    """A variable, or a file with variables, is not one that can be written."""


@dataclass(frozen=True)
class Library:
    """A variable that a security library reads.

    Attributes:
        library: what reads it.
        variable: its name.
        value: what it is set to; words in braces are paths of the instance's material.
        systems: the operating systems on which it has this name; empty for all.
    """

    library: str
    variable: str
    value: str
    systems: tuple[str, ...] = ()


#: One row a variable. ``trust``, ``keystore`` and so on are the words that kinds use for paths.
LIBRARIES: t.Final = (
    Library("curl", "CURL_CA_BUNDLE", "{trust}"),
    Library("java", "JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore={truststore}"),
    Library("loader", "LD_LIBRARY_PATH", "{libraries}", ("linux", "solaris")),
    Library("loader", "LIBPATH", "{libraries}", ("aix",)),
    Library("loader", "PATH", "{libraries}", ("windows",)),
    Library("loader_32", "LD_LIBRARY_PATH_32", "{libraries_32}", ("solaris",)),
    Library("loader_64", "LD_LIBRARY_PATH_64", "{libraries_64}", ("solaris",)),
    Library("node", "NODE_EXTRA_CA_CERTS", "{trust}"),
    Library("openssl", "SSL_CERT_FILE", "{trust}"),
    Library("openssl_config", "OPENSSL_CONF", "{openssl_config}"),
    Library("openssl_folder", "SSL_CERT_DIR", "{trust_folder}"),
    Library("requests", "REQUESTS_CA_BUNDLE", "{trust}"),
)


@dataclass(frozen=True)
class ListRule:
    """How a variable that is a list is merged: what separates its entries, and at which end ours stand."""

    separator: str
    ours: t.Literal["first", "last"]


#: The loader takes the first library that it finds; Java takes the last of two equal options.
LISTS: t.Final[t.Mapping[str, ListRule]] = {
    "JAVA_TOOL_OPTIONS": ListRule(" ", "last"),
    "LD_LIBRARY_PATH": ListRule(":", "first"),
    "LD_LIBRARY_PATH_32": ListRule(":", "first"),
    "LD_LIBRARY_PATH_64": ListRule(":", "first"),
    "LIBPATH": ListRule(":", "first"),
    "NODE_OPTIONS": ListRule(" ", "last"),
    "SHLIB_PATH": ListRule(":", "first"),
}

#: The same on Windows, where names of variables have no case and stand here in capitals.
WINDOWS_LISTS: t.Final[t.Mapping[str, ListRule]] = {
    "JAVA_TOOL_OPTIONS": ListRule(" ", "last"),
    "NODE_OPTIONS": ListRule(" ", "last"),
    "PATH": ListRule(";", "first"),
}

_NAME: t.Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWNER: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_PLAIN: t.Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")
_CONTROL: t.Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VALUE_LIMIT: t.Final = 4096


@dataclass(frozen=True)
class Target:
    """A kind of file that gives variables to processes.

    Attributes:
        name: its name in options.
        read: finds the assignments in lines of it.
        write: makes the lines of a variable from its name, its whole value, and the part of it that is ours.
        refuses: characters that cannot stand in a value there, whatever the quotes.
        path: where it lies if nothing else is said; ``{unit}`` and ``{owner}`` are put in.
        head: lines before ours.
        removable: whether the file goes away once nothing stands in it, for nobody else names it.
        systems: the operating systems that have it.
    """

    name: TargetName
    read: t.Callable[[t.Sequence[str]], list[tuple[str, str]]]
    write: t.Callable[[str, str, str], str]
    refuses: str
    path: str | None
    head: tuple[str, ...] = ()
    removable: bool = False
    systems: tuple[str, ...] = ("linux", "aix", "solaris")


@dataclass(frozen=True)
class Wanted:
    """The variables that an instance's processes should be given.

    Attributes:
        owner: the instance.
        target: the kind of file.
        variables: their values; for a list, our entries of it.
    """

    owner: str
    target: Target
    variables: t.Mapping[str, str]


@dataclass(frozen=True)
class Edit:
    """A file as it should be: its text, or None if nothing of it should be left; and what that changes, if anything."""

    text: str | None
    change: Change | None
    due: tuple[str, ...]


def targets_on(system: str) -> dict[str, Target]:
    """Return the kinds of places that a system has, by name."""
    rows = {**TARGETS, **ELSEWHERE.get(system, {})}
    return {name: row for name, row in rows.items() if system in row.systems}


def target_on(owner: str, name: object, system: str) -> Target:
    """Return a kind of place by its name.

    Raises:
        EnvironmentRefused: the system has none of this name.
    """
    known = targets_on(system)
    if name not in known:
        where = "" if system == "linux" or name not in TARGETS else " on %s" % system
        raise EnvironmentRefused("%s: target is %r; it is one of %s%s" % (owner, name, ", ".join(sorted(known)), where))
    return known[str(name)]


def wanted_environment(owner: str, target: str, variables: t.Mapping[str, str], *, system: str = "linux") -> Wanted:
    """Return checked variables.

    Raises:
        EnvironmentRefused: a name or a value cannot be written to such a file.
    """
    place = target_on(owner, target, system)
    if not _OWNER.fullmatch(owner):
        raise EnvironmentRefused("%r is not a name that can mark lines; use letters, digits and _ . @ -" % owner)
    for name, value in variables.items():
        if not _NAME.fullmatch(name):
            raise EnvironmentRefused("%s: %r is not a name of a variable; use letters, digits and _" % (owner, name))
        bad = _CONTROL.search(value) or next((char for char in value if char in place.refuses), None)
        if bad is not None:
            char = bad if isinstance(bad, str) else bad.group()
            raise EnvironmentRefused("%s: the value of %s holds %r, which cannot stand there" % (owner, name, char))
        if len(value) > _VALUE_LIMIT or not value:
            raise EnvironmentRefused(
                "%s: the value of %s has %d characters; it has 1 to %d" % (owner, name, len(value), _VALUE_LIMIT)
            )
    return Wanted(owner, place, dict(variables))


def library_variables(
    libraries: t.Iterable[str], paths: t.Mapping[str, str], *, system: str = "linux"
) -> dict[str, str]:
    """Return the variables that make these libraries read the files at ``paths``.

    Raises:
        EnvironmentRefused: a library is not known, or needs a path that is not given.
    """
    found: dict[str, str] = {}
    for name in libraries:
        rows = [row for row in LIBRARIES if row.library == name and system in (row.systems or (system,))]
        if not rows:
            known = sorted({row.library for row in LIBRARIES})
            raise EnvironmentRefused("library %r is not known on %s; known are %s" % (name, system, ", ".join(known)))
        for row in rows:
            try:
                found[row.variable] = row.value.format(**paths)
            except KeyError as error:
                raise EnvironmentRefused("library %r needs the path %s" % (name, error)) from error
    return found


def merged(name: str, *, ours: str, theirs: str | None, lists: t.Mapping[str, ListRule] | None = None) -> str:
    """Return a variable's value: ours; in a list also what others have there."""
    rule = (lists or LISTS).get(name)
    if rule is None or not theirs:
        return ours
    mine = ours.split(rule.separator)
    others = [entry for entry in theirs.split(rule.separator) if entry and entry not in mine]
    return rule.separator.join([*mine, *others] if rule.ours == "first" else [*others, *mine])


def holds(name: str, *, found: str | None, wanted: str, lists: t.Mapping[str, ListRule] | None = None) -> bool:
    """Return whether a process's variable is what was wanted: equal, or in a list with all our entries in it."""
    rule = (lists or LISTS).get(name)
    if found is None or rule is None:
        return found == wanted
    return set(wanted.split(rule.separator)) <= set(found.split(rule.separator))


def plan_environment(wanted: Wanted, *, found: str | None, elsewhere: t.Mapping[str, str] | None = None) -> Edit:
    """Return the file as it should be.

    Args:
        wanted: the variables; none of them, to take our lines out.
        found: the file's text; None if there is no file.
        elsewhere: values that other files give to the same processes before this one does, for lists.
    """
    before, ours, after = _split(found or "", wanted.owner)
    outside = dict(elsewhere or {})
    outside.update(wanted.target.read(before))
    below = dict(wanted.target.read(after))
    had = dict(wanted.target.read(ours))
    reasons = {}
    lines: list[str] = []
    for name, value in sorted(wanted.variables.items()):
        theirs = below.get(name, outside.get(name))
        whole = merged(name, ours=value, theirs=theirs)
        line = wanted.target.write(name, whole, value)
        lines.append(line)
        if name in below and below[name] != whole:
            reasons[name] = "%s is set again below our lines" % name
        elif line not in ours:
            seen = had.get(name, outside.get(name))
            reasons[name] = "%s is not set" % name
            if seen is not None:
                reasons[name] = "%s is %s, planned %s" % (name, _cut(seen), _cut(whole))
    for name in sorted(set(had) - set(wanted.variables)):
        reasons[name] = "%s is no longer planned" % name
    if not reasons:
        return Edit(found, None, ())
    block = [_begin(wanted.owner), *wanted.target.head, *lines, _finish(wanted.owner)] if lines else []
    moved = any(name in below for name in wanted.variables)
    parts = [*before, *after, *block] if moved else [*before, *block, *after]
    text = "".join(line + "\n" for line in parts)
    change = Change(
        target="environment %s" % wanted.owner,
        before="\n".join(ours) or None,
        after="\n".join(block[1:-1]) or None,
        reason="; ".join(reasons[name] for name in sorted(reasons)),
    )
    gone = wanted.target.removable and not text.strip()
    return Edit(None if gone else text, change, tuple(sorted(reasons)))


def effective(target: Target, text: str | None) -> dict[str, str]:
    """Return the variables that a file sets."""
    return dict(target.read((text or "").split("\n")))


def _cut(value: str) -> str:
    return value if len(value) <= 100 else value[:97] + "..."


def _begin(owner: str) -> str:
    return "# BEGIN connsec %s" % owner


def _finish(owner: str) -> str:
    return "# END connsec %s" % owner


def _split(text: str, owner: str) -> tuple[list[str], list[str], list[str]]:
    """Return the lines before our own, ours without their marks, and those after.

    A block whose end somebody deleted ends where the next one begins, or with the file.
    """
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if _begin(owner) not in lines:
        return lines, [], []
    start = lines.index(_begin(owner))
    stop = start + 1
    while stop < len(lines) and lines[stop] != _finish(owner) and not lines[stop].startswith("# BEGIN connsec "):
        stop += 1
    after = stop + 1 if stop < len(lines) and lines[stop] == _finish(owner) else stop
    return lines[:start], lines[start + 1 : stop], lines[after:]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=False)
    except ValueError:  # a quote that does not end; not our line
        return []


def _read_unit(lines: t.Sequence[str]) -> list[tuple[str, str]]:
    """Return the assignments of ``Environment=`` in a unit's lines; an empty one forgets the earlier ones."""
    found: list[tuple[str, str]] = []
    joined = "\n".join(lines).replace("\\\n", " ").split("\n")
    for line in joined:
        name, equals, value = line.strip().partition("=")
        if name.strip() == "Environment" and equals:
            if not value.strip():
                found.clear()
            for word in _words(value):
                variable, equals, content = word.partition("=")
                if equals:
                    found.append((variable, content.replace("%%", "%")))
    return found


def _read_file(lines: t.Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for line in lines:
        match = re.match(r"\s*(?:export\s+)?(%s)=(.*)" % _NAME.pattern, line)
        if match:
            found.append((match.group(1), "".join(_words(match.group(2))[:1]) if match.group(2) else ""))
    return found


_LOGIN_LIST: t.Final = re.compile(r"\s*case .* in .*\) ;; \*\) export (%s)=(.*) ;; esac" % _NAME.pattern)


def _read_login(lines: t.Sequence[str]) -> list[tuple[str, str]]:
    return _read_scripts(lines, _LOGIN_LIST)


def _read_scripts(lines: t.Sequence[str], *forms: t.Pattern[str]) -> list[tuple[str, str]]:
    """Return the assignments of a shell's script: those in one of our forms, and those that stand in any file."""
    found = []
    for line in lines:
        match = next(filter(None, (form.fullmatch(line) for form in forms)), None)
        if match:
            words = _words(re.sub(r'"\$\{[^"]*\}"', "", match.group(2)))
            found.append((match.group(1), "".join(words[:1])))
        else:
            found += _read_file([line])
    return found


_PROFILE_LIST: t.Final = re.compile(r"\s*case .* in .*\) ;; \*\) (%s)=(.*); export \1 ;; esac" % _NAME.pattern)
_PROFILE: t.Final = re.compile(r"\s*(%s)=(.*); *export \1\s*" % _NAME.pattern)


def _read_profile(lines: t.Sequence[str]) -> list[tuple[str, str]]:
    """Return the assignments of a profile, as shells of before POSIX have them; and as those of today."""
    return _read_scripts(lines, _PROFILE_LIST, _PROFILE)


def _write_profile(name: str, whole: str, ours: str) -> str:
    """Return a line that Solaris 10's sh reads as well, which exports no assignment."""
    line = _write_login(name, whole, ours)
    if name not in LISTS:
        return "%s=%s; export %s" % (name, shlex.quote(ours), name)
    before, _unused, rest = line.partition(" *) export ")
    return "%s *) %s; export %s ;; esac" % (before, rest[: -len(" ;; esac")], name)


def _write_whole(name: str, whole: str, ours: str) -> str:
    return "%s=%s; export %s" % (name, shlex.quote(whole), name)


def _write_unit(name: str, whole: str, ours: str) -> str:
    escaped = whole.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return 'Environment="%s=%s"' % (name, escaped)


def _write_file(name: str, whole: str, ours: str) -> str:
    return "%s=%s" % (name, whole) if _PLAIN.fullmatch(whole) else '%s="%s"' % (name, whole)


def _write_login(name: str, whole: str, ours: str) -> str:
    """Return a line of sh; for a list one that adds ours to what a session already has, once."""
    rule, quoted = LISTS.get(name), shlex.quote(ours)
    if rule is None:
        return "export %s=%s" % (name, quoted)
    mark = rule.separator if rule.separator != " " else "' '"
    if rule.ours == "first":
        value = quoted + '"${%s:+%s$%s}"' % (name, rule.separator, name)
    else:
        value = '"${%s:+$%s%s}"' % (name, name, rule.separator) + quoted
    return 'case %s"${%s-}"%s in *%s%s%s*) ;; *) export %s=%s ;; esac' % (
        mark, name, mark, mark, quoted, mark, name, value,
    )  # fmt: skip


#: A file may be read by systemd, by sh, and by programs that know no quotes, so it takes what all of them take alike.
TARGETS: t.Final[t.Mapping[str, Target]] = {
    "file": Target("file", _read_file, _write_file, "\"'\\$`#", None),
    "login": Target("login", _read_login, _write_login, "", "/etc/profile.d/connsec-{owner}.sh", (), True),
    "system": Target("system", _read_file, _write_file, "\"'\\$`#@", "/etc/environment", systems=("linux", "aix")),
    "machine": Target("machine", _read_file, _write_file, "", None, systems=("windows",)),
    "service": Target("service", _read_file, _write_file, "", None, systems=("windows",)),
    "smf": Target("smf", _read_file, _write_file, "\"'\\$`", None, systems=("solaris",)),
    "src": Target("src", _read_profile, _write_whole, "", "/etc/connsec-src/{unit}", (), True, ("aix",)),
    "unit": Target(
        "unit",
        _read_unit,
        _write_unit,
        "",
        "/etc/systemd/system/{unit}.d/zz-connsec.conf",
        ("[Service]",),
        True,
        ("linux",),
    ),
}
#: What is another one elsewhere. No folder of scripts is read there by login shells, but one file; and AIX's
#: ``/etc/environment`` is read by programs that know neither quotes nor blanks in a value.
ELSEWHERE: t.Final[t.Mapping[str, t.Mapping[str, Target]]] = {
    "aix": {
        "login": Target("login", _read_profile, _write_profile, "", "/etc/profile"),
        "system": Target("system", _read_file, _write_file, "\"'\\$`#@ ", "/etc/environment", systems=("aix",)),
    },
    "solaris": {"login": Target("login", _read_profile, _write_profile, "", "/etc/profile")},
}
