# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables on AIX and Solaris: loaders, profiles, SMF's repository, and subsystems of SRC."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._environment import (
    EnvironmentRefused,
    effective,
    library_variables,
    plan_environment,
    targets_on,
    wanted_environment,
)
from ansible_collections.connsec.tls.plugins.module_utils._core._smf import (
    Definition,
    Tell,
    directly,
    plan_service,
    quoted,
    through,
)

OWNER = "router@urs1"


def test_each_system_has_its_own_targets():
    assert {system: sorted(targets_on(system)) for system in ("linux", "aix", "solaris")} == {
        "linux": ["file", "login", "system", "unit"],
        "aix": ["file", "login", "src", "system"],
        "solaris": ["file", "login", "smf"],
    }


NOT_THERE = [
    ("unit", "aix"),
    ("smf", "aix"),
    ("unit", "solaris"),
    ("system", "solaris"),
    ("src", "solaris"),
    ("smf", "linux"),
]


@pytest.mark.parametrize(("target", "system"), NOT_THERE)
def test_a_target_that_a_system_does_not_have_is_refused_with_those_that_it_has(target, system):
    with pytest.raises(EnvironmentRefused, match="target is '%s'; it is one of file, login" % target):
        wanted_environment(OWNER, target, {}, system=system)


LOADERS = [
    ("aix", ["loader"], {"LIBPATH": "/lib"}),
    ("solaris", ["loader"], {"LD_LIBRARY_PATH": "/lib"}),
    ("solaris", ["loader_32", "loader_64"], {"LD_LIBRARY_PATH_32": "/lib", "LD_LIBRARY_PATH_64": "/lib/64"}),
]


@pytest.mark.parametrize(("system", "libraries", "expected"), LOADERS)
def test_a_loaders_variable_is_called_as_the_system_has_it(system, libraries, expected):
    paths = {"libraries": "/lib", "libraries_32": "/lib", "libraries_64": "/lib/64"}
    assert library_variables(libraries, paths, system=system) == expected


def test_there_is_no_loader_of_64_bits_where_one_variable_serves_both():
    with pytest.raises(EnvironmentRefused, match="library 'loader_64' is not known on aix"):
        library_variables(["loader_64"], {}, system="aix")


VALUES = [
    ({"SSL_CERT_FILE": "/t.pem"}, "", {"SSL_CERT_FILE": "/t.pem"}),
    ({"A": 'it\'s $HOME `x` "y"'}, "", {"A": 'it\'s $HOME `x` "y"'}),
    ({"LIBPATH": "/ours"}, "LIBPATH=/theirs; export LIBPATH\n", {"LIBPATH": "/ours:/theirs"}),
    ({"LIBPATH": "/ours"}, "LIBPATH=/a:/ours; export LIBPATH\n", {"LIBPATH": "/a:/ours"}),
]


@pytest.mark.parametrize(("values", "before", "expected"), VALUES)
@pytest.mark.parametrize("system", ["aix", "solaris"])
def test_a_login_shell_has_what_a_profile_sets_once_and_with_what_others_set(
    system, values, before, expected, tmp_path
):
    wanted = wanted_environment(OWNER, "login", values, system=system)
    edit = plan_environment(wanted, found=before)
    assert edit.text
    assert "export %s=" % next(iter(values)) not in edit.text, "Solaris 10's sh exports no assignment"
    assert plan_environment(wanted, found=edit.text).change is None
    profile = tmp_path / "profile"
    profile.write_text(edit.text + edit.text)  # a session that reads it twice
    name = next(iter(values))
    done = subprocess.run(
        ["sh", "-c", '. "$1"; exec env', "sh", str(profile)], capture_output=True, text=True, check=True, env={}
    )
    assert dict(line.partition("=")[::2] for line in done.stdout.splitlines())[name] == expected[name]


def test_a_profile_is_kept_and_a_script_folder_is_not_asked_for():
    wanted = wanted_environment(OWNER, "login", {"SSL_CERT_FILE": "/t.pem"}, system="solaris")
    assert wanted.target.path == "/etc/profile"
    edit = plan_environment(wanted, found="umask 022\n")
    block = "# BEGIN connsec router@urs1\nSSL_CERT_FILE=/t.pem; export SSL_CERT_FILE\n# END connsec router@urs1\n"
    assert edit.text == "umask 022\n" + block
    none = wanted_environment(OWNER, "login", {}, system="solaris")
    assert plan_environment(none, found=edit.text).text == "umask 022\n"


def test_aixs_file_for_all_sessions_takes_no_blanks_and_no_quotes():
    with pytest.raises(EnvironmentRefused, match="holds ' '"):
        wanted_environment(OWNER, "system", {"JAVA_TOOL_OPTIONS": "-Da=b -Dc=d"}, system="aix")
    wanted = wanted_environment(OWNER, "system", {"LIBPATH": "/lib"}, system="aix")
    text = plan_environment(wanted, found="PATH=/usr/bin\nTZ=CET\n").text
    assert text and effective(wanted.target, text) == {"PATH": "/usr/bin", "TZ": "CET", "LIBPATH": "/lib"}
    assert '"' not in text


# SMF


def smf(**values: str):
    return wanted_environment(OWNER, "smf", values, system="solaris")


def after(found: dict, notes: dict, tells) -> tuple[dict, dict]:
    """Return variables and notes as a repository has them after it was told."""
    found, notes = dict(found), dict(notes)
    for each in tells:
        for table, value in ((found, each.value), (notes, each.note)):
            table.pop(each.name, None)
            if value is not None:
                table[each.name] = value
    return found, notes


ROUND_TRIPS = [
    ({}, {"SSL_CERT_FILE": "/t.pem"}, {"SSL_CERT_FILE": "/t.pem"}),
    ({"TZ": "CET"}, {"SSL_CERT_FILE": "/t.pem"}, {"TZ": "CET", "SSL_CERT_FILE": "/t.pem"}),
    ({"SSL_CERT_FILE": "/old"}, {"SSL_CERT_FILE": "/t.pem"}, {"SSL_CERT_FILE": "/t.pem"}),
    ({"LD_LIBRARY_PATH": "/a"}, {"LD_LIBRARY_PATH": "/x"}, {"LD_LIBRARY_PATH": "/x:/a"}),
    ({"LD_LIBRARY_PATH_64": "/x:/a"}, {"LD_LIBRARY_PATH_64": "/x"}, {"LD_LIBRARY_PATH_64": "/x:/a"}),
]


@pytest.mark.parametrize(("found", "ours", "expected"), ROUND_TRIPS)
def test_a_service_gets_its_variables_once_and_gives_them_back(found, ours, expected):
    plan = plan_service(smf(**ours), found=found, notes={})
    assert plan.due == tuple(sorted(ours))
    now, notes = after(found, {}, plan.tells)
    assert now == expected
    assert plan_service(smf(**ours), found=now, notes=notes).tells == ()
    back = plan_service(smf(), found=now, notes=notes)
    assert after(now, notes, back.tells) == (found, {})


def test_what_others_add_to_a_list_stays_when_ours_goes():
    plan = plan_service(smf(LD_LIBRARY_PATH="/x"), found={"LD_LIBRARY_PATH": "/a"}, notes={})
    _now, notes = after({}, {}, plan.tells)
    (tell,) = plan_service(smf(), found={"LD_LIBRARY_PATH": "/x:/a:/later"}, notes=notes).tells
    assert tell == Tell("LD_LIBRARY_PATH", "/a:/later", None)


def test_a_changed_value_is_told_and_the_first_one_of_others_is_remembered():
    found, notes = after({}, {}, plan_service(smf(A="1"), found={"A": "0"}, notes={}).tells)
    plan = plan_service(smf(A="2"), found=found, notes=notes)
    assert plan.tells == (Tell("A", "2", (OWNER, "2", "0")),)
    assert plan.change and plan.change.reason == "A is 1, planned 2"


def test_a_variable_of_another_instance_is_not_taken():
    with pytest.raises(EnvironmentRefused, match="A of this service is desk@urs1's"):
        plan_service(smf(A="1"), found={"A": "0"}, notes={"A": ("desk@urs1", "0")})


def test_what_could_not_be_put_back_is_not_overwritten():
    with pytest.raises(EnvironmentRefused, match="cannot be put back"):
        plan_service(smf(A="1"), found={"A": 'say "hi"'}, notes={})


def test_a_word_is_quoted_for_svccfg():
    assert quoted('a "b" \\c') == '"a \\"b\\" \\\\c"'


# SRC


def test_a_subsystem_is_started_through_a_file_and_directly_again():
    found = Definition("/opt/router/bin/router", "-c /etc/router.ini -x 'two words'")
    made = through("/etc/connsec-src/router", found)
    assert made.path == "/usr/bin/sh"
    assert through("/etc/connsec-src/router", made) == made
    assert directly("/etc/connsec-src/router", made) == found
    assert directly("/etc/connsec-src/router", found) == found
    bare = Definition("/opt/router/bin/router", "")
    assert directly("/etc/connsec-src/router", through("/etc/connsec-src/router", bare)) == bare


def test_the_program_takes_the_place_of_its_shell_and_has_the_variables(tmp_path):
    variables = tmp_path / "router"
    wanted = wanted_environment(OWNER, "src", {"A_VALUE": "it's $x"}, system="aix")
    variables.write_text(plan_environment(wanted, found=None).text or "")
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$$ $A_VALUE $# $2"\n')
    program.chmod(0o755)
    made = through(str(variables), Definition(str(program), "-x 'two words'"))
    argv = ["/bin/sh", *shlex.split(made.arguments)]  # SRC takes arguments apart by the rules of a shell
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0].split(" ", 1) == [str(process.pid), "it's $x 2 two words\n"]
    variables.unlink()
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("  2 two words\n"), "without its file it starts all the same"


def test_a_program_whose_path_would_be_taken_apart_is_refused():
    with pytest.raises(EnvironmentRefused, match="rename it"):
        through("/f", Definition("/opt/my program", ""))
