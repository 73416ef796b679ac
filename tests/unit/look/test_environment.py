# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written to the files that give variables, and that the programs that read them understand it."""

from __future__ import annotations

import os
import pwd
import subprocess
import types
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._environment import (
    LIBRARIES,
    LISTS,
    TARGETS,
    WINDOWS_LISTS,
    Edit,
    EnvironmentRefused,
    effective,
    holds,
    library_variables,
    merged,
    plan_environment,
    targets_on,
    wanted_environment,
)
from ansible_collections.connsec.tls.plugins.module_utils._host._environment_file import (
    environment_path,
    unit_variables,
)
from ansible_collections.connsec.tls.plugins.module_utils._host._environments import Environments
from ansible_collections.connsec.tls.plugins.module_utils._host._reading import FileUnreadable, read_text
from hypothesis import given, settings
from hypothesis import strategies as st

TRUST = "/etc/connsec/router/current/trust.pem"
OPENSSL = types.MappingProxyType({"SSL_CERT_FILE": TRUST})
ME = "router@urs1"


def plan(target: str, found: str | None, variables: t.Mapping[str, str] = OPENSSL, **options) -> Edit:
    return plan_environment(wanted_environment(ME, target, variables), found=found, **options)


FIRST = [
    ("file", "# BEGIN connsec router@urs1\nSSL_CERT_FILE=%s\n# END connsec router@urs1\n" % TRUST),
    ("system", "# BEGIN connsec router@urs1\nSSL_CERT_FILE=%s\n# END connsec router@urs1\n" % TRUST),
    ("login", "# BEGIN connsec router@urs1\nexport SSL_CERT_FILE=%s\n# END connsec router@urs1\n" % TRUST),
    (
        "unit",
        '# BEGIN connsec router@urs1\n[Service]\nEnvironment="SSL_CERT_FILE=%s"\n# END connsec router@urs1\n' % TRUST,
    ),
]


@pytest.mark.parametrize(("target", "text"), FIRST)
def test_each_target_has_lines_of_its_own_kind(target, text) -> None:
    edit = plan(target, None)
    assert edit.text == text
    assert edit.change and edit.change.target == "environment router@urs1"
    assert edit.change.reason == "SSL_CERT_FILE is not set" and edit.due == ("SSL_CERT_FILE",)
    assert plan(target, text) == Edit(text, None, ())
    assert effective(TARGETS[target], text) == OPENSSL


@pytest.mark.parametrize("target", sorted(targets_on("linux")))
def test_what_others_wrote_is_kept(target) -> None:
    found = "# a remark\nOTHER=1\n\n  SPACED = x\nlast line without an end"
    edit = plan(target, found)
    assert edit.text and edit.text.startswith(found + "\n# BEGIN connsec router@urs1\n")
    assert "OTHER" not in (edit.change.after or "") + (edit.change.before or ""), "a diff shows nothing of others"
    assert plan(target, edit.text, {}).text == found + "\n"


REASONS = [
    ("SSL_CERT_FILE=/old\n", OPENSSL, "SSL_CERT_FILE is /old, planned %s" % TRUST),
    ("# BEGIN connsec router@urs1\nSSL_CERT_FILE=/old\n", OPENSSL, "SSL_CERT_FILE is /old, planned %s" % TRUST),
    (FIRST[0][1] + "SSL_CERT_FILE=/other\n", OPENSSL, "SSL_CERT_FILE is set again below our lines"),
    (FIRST[0][1], {}, "SSL_CERT_FILE is no longer planned"),
    (FIRST[0][1], {"CURL_CA_BUNDLE": "/x"}, "CURL_CA_BUNDLE is not set; SSL_CERT_FILE is no longer planned"),
]


@pytest.mark.parametrize(("found", "variables", "reason"), REASONS)
def test_a_change_says_why_and_settles_at_once(found, variables, reason) -> None:
    edit = plan("file", found, variables)
    assert edit.change and edit.change.reason == reason
    assert plan("file", edit.text, variables).change is None
    assert effective(TARGETS["file"], edit.text).items() >= variables.items()


@pytest.mark.parametrize(("target", "left"), [("file", ""), ("system", ""), ("login", None), ("unit", None)])
def test_without_variables_our_lines_go_and_a_file_of_ours_alone_goes_with_them(target, left) -> None:
    assert plan(target, plan(target, None).text, {}).text == left
    assert plan(target, None, {}).change is None


def test_two_instances_share_a_file() -> None:
    first = plan("file", None).text
    both = plan_environment(wanted_environment("other@urs1", "file", {"A": "1"}), found=first)
    assert plan("file", both.text).change is None
    alone = plan("file", both.text, {})
    assert alone.text == "# BEGIN connsec other@urs1\nA=1\n# END connsec other@urs1\n"


MERGES = [
    ("LD_LIBRARY_PATH", "/ours", None, "/ours"),
    ("LD_LIBRARY_PATH", "/ours", "/a:/b", "/ours:/a:/b"),
    ("LD_LIBRARY_PATH", "/ours", "/a:/ours:/b", "/ours:/a:/b"),
    ("LD_LIBRARY_PATH", "/ours:/more", "/ours", "/ours:/more"),
    ("LIBPATH", "/ours", "/a", "/ours:/a"),
    ("JAVA_TOOL_OPTIONS", "-Da=1", "-Xmx1g", "-Xmx1g -Da=1"),
    ("SSL_CERT_FILE", "/ours", "/theirs", "/ours"),
]


@pytest.mark.parametrize(("name", "ours", "theirs", "whole"), MERGES)
def test_a_list_keeps_what_others_put_there_and_ours_once(name, ours, theirs, whole) -> None:
    assert merged(name, ours=ours, theirs=theirs) == whole
    assert merged(name, ours=ours, theirs=whole) == whole
    assert holds(name, found=whole, wanted=ours)


@pytest.mark.parametrize("target", ["file", "system", "unit"])
def test_a_list_in_a_file_is_merged_with_the_value_above_it(target) -> None:
    above = {
        "file": "LD_LIBRARY_PATH=/a:/b\n",
        "system": "LD_LIBRARY_PATH=/a:/b\n",
        "unit": "Environment=LD_LIBRARY_PATH=/a:/b\n",
    }
    variables = {"LD_LIBRARY_PATH": "/ours"}
    edit = plan(target, above[target], variables)
    assert effective(TARGETS[target], edit.text) == {"LD_LIBRARY_PATH": "/ours:/a:/b"}
    assert plan(target, edit.text, variables).change is None
    assert plan(target, edit.text, {}).text == above[target]


def test_a_unit_takes_the_lists_of_its_other_files(tmp_path) -> None:
    (tmp_path / "x.service.d").mkdir()
    (tmp_path / "x.service").write_text("[Service]\nEnvironment=LD_LIBRARY_PATH=/a 'B=two words'\\\n  C=3\n")
    (tmp_path / "x.service.d" / "early.conf").write_text('[Service]\nEnvironment="LD_LIBRARY_PATH=/early"\n')
    (tmp_path / "x.service.d" / "zz-connsec.conf").write_text('[Service]\nEnvironment="LD_LIBRARY_PATH=/mine"\n')
    spec = {"target": "unit", "unit": "x", "unit_directory": str(tmp_path)}
    path = environment_path(ME, spec)
    assert path == str(tmp_path / "x.service.d" / "zz-connsec.conf")
    assert unit_variables(spec, except_for=path) == {"LD_LIBRARY_PATH": "/early", "B": "two words", "C": "3"}
    assert unit_variables({"unit": "none", "unit_directory": str(tmp_path)}, except_for="") == {}


def run_sh(text: str, **environment: str) -> dict[str, str]:
    script = text + "\nenv -0\n"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": os.environ["PATH"], **environment}, capture_output=True, check=True
    )
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)


WORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc"]), min_size=1, max_size=30
)


@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_a_shell_reads_what_was_written_for_login(value: str) -> None:
    text = plan("login", None, {"A_VALUE": value}).text
    assert run_sh(text or "")["A_VALUE"] == value


@given(WORDS, st.sampled_from(["file", "system", "unit", "login"]))
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_back_or_refused(value: str, target: str) -> None:
    try:
        edit = plan(target, None, {"A_VALUE": value})
    except EnvironmentRefused:
        assert set(value) & set(TARGETS[target].refuses)
        return
    assert effective(TARGETS[target], edit.text) == {"A_VALUE": value}


LOGIN_LISTS = [
    ("LD_LIBRARY_PATH", "/ours", {}, "/ours"),
    ("LD_LIBRARY_PATH", "/ours", {"LD_LIBRARY_PATH": "/a:/b"}, "/ours:/a:/b"),
    ("LD_LIBRARY_PATH", "/ours", {"LD_LIBRARY_PATH": "/a:/ours"}, "/a:/ours"),
    ("LD_LIBRARY_PATH", "/with space", {"LD_LIBRARY_PATH": "/a"}, "/with space:/a"),
    ("JAVA_TOOL_OPTIONS", "-Da=1 -Db=2", {"JAVA_TOOL_OPTIONS": "-Xmx1g"}, "-Xmx1g -Da=1 -Db=2"),
    ("JAVA_TOOL_OPTIONS", "-Da=1", {"JAVA_TOOL_OPTIONS": "-Da=1"}, "-Da=1"),
]


@pytest.mark.parametrize(("name", "ours", "had", "whole"), LOGIN_LISTS)
def test_a_login_shell_adds_ours_to_a_list_once(name, ours, had, whole) -> None:
    text = plan("login", None, {name: ours}).text or ""
    assert run_sh(text, **had)[name] == whole
    assert run_sh(text + text, **had)[name] == whole
    assert run_sh("set -eu\n" + text, **had)[name] == whole
    assert plan("login", text, {name: ours}).change is None


@pytest.mark.parametrize("target", ["file", "system"])
def test_a_shell_and_systemd_read_an_environment_file_alike(target) -> None:
    value = "-Da=1 -Db=/x/y,z"
    text = plan(target, None, {"JAVA_TOOL_OPTIONS": value}).text or ""
    assert '"%s"' % value in text
    assert run_sh("set -a\n" + text)["JAVA_TOOL_OPTIONS"] == value


REFUSED = [
    ("file", {"A": "a\nB=1"}, r"the value of A holds '\\n'"),
    ("unit", {"A": "a\0b"}, r"the value of A holds '\\x00'"),
    ("login", {"A": "a\rb"}, r"the value of A holds '\\r'"),
    ("file", {"A": 'say "x"'}, "holds '\"'"),
    ("system", {"A": "a$b"}, r"holds '\$'"),
    ("file", {"A": "`id`"}, "holds '`'"),
    ("unit", {"A": ""}, "has 0 characters"),
    ("unit", {"A": "x" * 5000}, "has 5000 characters"),
    ("unit", {"A B": "x"}, "'A B' is not a name of a variable"),
    ("unit", {"A\n": "x"}, "is not a name of a variable"),
    ("shell", {"A": "x"}, "target is 'shell'; it is one of file, login, system, unit"),
]


@pytest.mark.parametrize(("target", "variables", "says"), REFUSED)
def test_what_cannot_stand_there_is_refused_in_one_sentence(target, variables, says) -> None:
    with pytest.raises(EnvironmentRefused, match=says):
        wanted_environment(ME, target, variables)


@pytest.mark.parametrize("owner", ["", "a b", "x\n# END connsec y", "../x"])
def test_a_name_that_cannot_mark_lines_is_refused(owner) -> None:
    with pytest.raises(EnvironmentRefused, match="is not a name that can mark lines"):
        wanted_environment(owner, "file", {})


PATHS = [
    ({"target": "file"}, "needs a path"),
    ({"target": "file", "path": "relative"}, "is an absolute path"),
    ({"target": "file", "path": "/a/../b"}, "is an absolute path"),
    ({"target": "unit"}, "name of a systemd unit"),
    ({"target": "unit", "unit": "../x"}, "name of a systemd unit"),
    ({"target": "nothing"}, "it is one of"),
]


@pytest.mark.parametrize(("spec", "says"), PATHS)
def test_a_place_that_cannot_be_is_refused(spec, says) -> None:
    with pytest.raises(EnvironmentRefused, match=says):
        environment_path(ME, spec)


def test_each_target_but_file_has_a_place() -> None:
    assert environment_path(ME, {"target": "system"}) == "/etc/environment"
    assert environment_path(ME, {"target": "login"}) == "/etc/profile.d/connsec-router@urs1.sh"
    assert environment_path(ME, {"target": "unit", "unit": "x"}) == "/etc/systemd/system/x.service.d/zz-connsec.conf"


def test_a_fifo_or_a_folder_does_not_hold_us(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(FileUnreadable):
            read_text(str(path))
    assert read_text(str(tmp_path / "no")) is None


def test_a_block_whose_end_was_deleted_swallows_no_other_block() -> None:
    found = "# BEGIN connsec router@urs1\nSSL_CERT_FILE=/x\n# BEGIN connsec b@urs1\nB=1\n# END connsec b@urs1\n"
    edit = plan("file", found)
    assert edit.text and edit.text.count("BEGIN") == 2 and "\nB=1\n" in edit.text
    assert plan("file", edit.text).change is None


def test_the_table_of_libraries_says_what_each_reads() -> None:
    paths = {"trust": "/t.pem", "truststore": "/t.p12", "libraries": "/lib"}
    assert library_variables(["openssl", "curl", "requests", "node"], paths) == {
        "SSL_CERT_FILE": "/t.pem",
        "CURL_CA_BUNDLE": "/t.pem",
        "REQUESTS_CA_BUNDLE": "/t.pem",
        "NODE_EXTRA_CA_CERTS": "/t.pem",
    }
    assert library_variables(["loader"], paths) == {"LD_LIBRARY_PATH": "/lib"}
    assert library_variables(["loader"], paths, system="aix") == {"LIBPATH": "/lib"}
    assert library_variables(["java"], paths) == {"JAVA_TOOL_OPTIONS": "-Djavax.net.ssl.trustStore=/t.p12"}
    assert library_variables(["loader"], paths, system="windows") == {"PATH": "/lib"}
    for row in LIBRARIES:
        if row.library == "loader":
            assert row.variable in (WINDOWS_LISTS if row.systems == ("windows",) else LISTS)
    with pytest.raises(EnvironmentRefused, match="known are curl, java"):
        library_variables(["gnutls"], paths)
    with pytest.raises(EnvironmentRefused, match="needs the path 'openssl_config'"):
        library_variables(["openssl_config"], paths)


@pytest.mark.skipif(os.geteuid() != 0, reason="LEFT OUT: only root can give files away")
def test_an_environment_file_keeps_its_owner_and_mode(tmp_path) -> None:
    path = tmp_path / "router.env"
    path.write_text("DB_PASSWORD=hunter2\n")
    path.chmod(0o600)
    nobody = pwd.getpwnam("nobody")
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    spec = {"name": "router@urs1", "target": "file", "path": str(path)}
    environments = Environments([(spec, {"SSL_CERT_FILE": "/t.pem"})])
    (change,) = environments.changes
    assert "hunter2" not in str(change)
    environments.make(change)
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o600, nobody.pw_uid, nobody.pw_gid)
    assert "DB_PASSWORD=hunter2\n" in path.read_text()
