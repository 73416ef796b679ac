# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options are read as their readers read them, and an edit keeps every other byte; configparser and Java judge."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._option_formats import LINE_FORMATS, OptionRefused, read
from ansible_collections.connsec.tls.plugins.module_utils._core._options import Setting, edit
from ansible_collections.connsec.tls.plugins.module_utils._host._option_file import OptionFile
from hypothesis import given, settings
from hypothesis import strategies as st

BOM = "\ufeff"

READ = [
    # format, text, section, key, value
    ("ini", "", "", "k", None),
    ("ini", "k = v\n", "", "k", "v"),
    ("ini", "k=v", "", "k", "v"),
    ("ini", "k : v\n", "", "k", "v"),
    ("ini", "k = a = b : c\n", "", "k", "a = b : c"),
    ("ini", "k =   \n", "", "k", ""),
    ("ini", "k\n", "", "k", ""),
    ("ini", "two words = v\n", "", "two words", "v"),
    ("ini", "K = v\n", "", "k", None),
    ("ini", "# k = v\n; k = w\n", "", "k", None),
    ("ini", "k = v # part of it\n", "", "k", "v # part of it"),
    ("ini", "k = v\n[s]\nk = w\n", "", "k", "v"),
    ("ini", "k = v\n[s]\nk = w\n", "s", "k", "w"),
    ("ini", "[ s ]\nk = w\n", "s", "k", "w"),
    ("ini", "[s] # remark\nk = w\n", "s", "k", "w"),
    ("ini", "[s]\nk = 1\n[t]\nk = 2\n[s]\nk = 3\n", "s", "k", "3"),
    ("ini", "[s]\nk = 1\nk = 2\n", "s", "k", "2"),
    ("ini", "[s]\nk = a\n  b\n\tc\nl = d\n", "s", "k", "a\nb\nc"),
    ("ini", "[s]\nk = a\n  [t]\nl = d\n", "s", "k", "a\n[t]"),
    ("ini", "[s]\nk = a\n# remark\n\n  b\n", "s", "k", "a\nb"),
    ("ini", "[s]\n  k = a\n  l = b\n", "s", "l", "b"),
    ("ini", "[s]\r\nk = a\r\n", "s", "k", "a"),
    ("ini", BOM + "k = v\n", "", "k", "v"),
    ("ini", BOM + "[s]\nk = v\n", "s", "k", "v"),
    ("conf", "k = v\n", "", "k", "v"),
    ("conf", "k=v", "", "k", "v"),
    ("conf", "k v\n", "", "k", "v"),
    ("conf", "k\tv w\n", "", "k", "v w"),
    ("conf", "k\n", "", "k", ""),
    ("conf", "  k = v  \n", "", "k", "v"),
    ("conf", "k = v # remark\n", "", "k", "v"),
    ("conf", "k = # remark\n", "", "k", ""),
    ("conf", "k # remark\n", "", "k", ""),
    ("conf", "k = a#b\n", "", "k", "a#b"),
    ("conf", "k = 'a # b' # remark\n", "", "k", "'a # b'"),
    ("conf", 'k = "a # b"\n', "", "k", '"a # b"'),
    ("conf", "k = it's # remark\n", "", "k", "it's"),
    ("conf", "#k = v\n;k = v\n!k = v\n", "", "k", None),
    ("conf", "k = 1\nk = 2\n", "", "k", "2"),
    ("conf", "k = v\r\n", "", "k", "v"),
    ("conf", BOM + "k v\n", "", "k", "v"),
    ("postfix", "k = v\n", "", "k", "v"),
    ("postfix", "k=v # part of it\n", "", "k", "v # part of it"),
    ("postfix", "k =\n    a,\n# remark\n\n\tb\nl = c\n", "", "k", "a, b"),
    ("postfix", "k = a\n  # remark\n  l = b\n", "", "k", "a l = b"),
    ("postfix", " k = v\n", "", "k", None),
    ("postfix", "#k = v\n", "", "k", None),
    ("postfix", "k = 1\nk = 2\n", "", "k", "2"),
    ("properties", "k=v\n", "", "k", "v"),
    ("properties", "k:v", "", "k", "v"),
    ("properties", "  k   v \n", "", "k", "v "),
    ("properties", "k\n", "", "k", ""),
    ("properties", "k = = v\n", "", "k", "= v"),
    ("properties", "# k=v\n! k=v\n", "", "k", None),
    ("properties", "k=a\\\n   b\\\n\tc\nl=d\n", "", "k", "abc"),
    ("properties", "k=a\\\n   b\\\n\tc\nl=d\n", "", "l", "d"),
    ("properties", "k=a\\\r\n   b\r\n", "", "k", "ab"),
    ("properties", "k=a\\\\\nl=d\n", "", "k", "a\\"),
    ("properties", "k=a\\", "", "k", "a"),
    ("properties", "# remark \\\nk=v\n", "", "k", "v"),
    ("properties", "k=a\\\n# part of it\n", "", "k", "a# part of it"),
    ("properties", "k\\ e\\=y=v\n", "", "k e=y", "v"),
    ("properties", "k=a\\tb\\u00e9\\ud83d\\ude00\\z\n", "", "k", "a\tb\u00e9\U0001f600z"),
    ("properties", "k=1\nk=2\n", "", "k", "2"),
]


@pytest.mark.parametrize(("form", "text", "section", "key", "value"), READ)
def test_an_option_is_read_as_its_reader_reads_it(form, text, section, key, value) -> None:
    assert read(text, form, section, key) == value


def put(key: str, value: str | None, *, section: str = "", separator: str | None = None) -> Setting:
    return Setting(section, key, value, separator)


EDITED = [
    # format, before, settings, after
    ("ini", "", [put("k", "v")], "k = v\n"),
    ("ini", "", [put("k", "v", section="s")], "[s]\nk = v\n"),
    ("ini", "# remark\n", [put("k", "v", section="s")], "# remark\n\n[s]\nk = v\n"),
    ("ini", "a=1\n\n", [put("k", "v", section="s")], "a=1\n\n[s]\nk=v\n"),
    ("ini", "a=1", [put("k", "v", section="s")], "a=1\n\n[s]\nk=v"),
    ("ini", "[s]\na=1\n\n\n[t]\nb : 2\n", [put("k", "v", section="s")], "[s]\na=1\nk=v\n\n\n[t]\nb : 2\n"),
    ("ini", "[s]\na=1\n\n[t]\nb : 2\n", [put("k", "v", section="t")], "[s]\na=1\n\n[t]\nb : 2\nk : v\n"),
    ("ini", "[s]\n  a = 1\n", [put("k", "v", section="s")], "[s]\n  a = 1\n  k = v\n"),
    ("ini", "[s]\na = 1\n  2\n[t]\n", [put("k", "v", section="s")], "[s]\na = 1\n  2\nk = v\n[t]\n"),
    ("ini", "[s]\na = 1", [put("k", "v", section="s")], "[s]\na = 1\nk = v"),
    ("ini", "[s]\n", [put("k", "v", section="s", separator=": ")], "[s]\nk: v\n"),
    ("ini", "[s]\n[t]\n[s]\n", [put("k", "v", section="s")], "[s]\n[t]\n[s]\nk = v\n"),
    ("ini", "[s]\nk   =  old  \n", [put("k", "new", section="s")], "[s]\nk   =  new  \n"),
    ("ini", "[s]\nk=1\nk=2\n", [put("k", "3", section="s")], "[s]\nk=1\nk=3\n"),
    ("ini", "[s]\nk=1\nl=9\nk=2\n", [put("k", None, section="s")], "[s]\nl=9\n"),
    ("ini", "[s]\nk = a\n  b\nl = c\n", [put("k", "v", section="s")], "[s]\nk = v\nl = c\n"),
    ("ini", "[s]\nk = a\n# kept\n  b\nl = c\n", [put("k", "v", section="s")], "[s]\nk = v\n# kept\nl = c\n"),
    ("ini", "[s]\nk = a\n# kept\n  b", [put("k", "v", section="s")], "[s]\nk = v\n# kept\n"),
    ("ini", "[s]\nk = a\n  b", [put("k", "v", section="s")], "[s]\nk = v"),
    ("ini", "[s]\nk = a\n  b\nl = c\n", [put("k", None, section="s")], "[s]\nl = c\n"),
    ("ini", "[s]\nk\n", [put("k", "v", section="s")], "[s]\nk = v\n"),
    ("ini", "[s]\nk = v\n", [put("k", "", section="s")], "[s]\nk = \n"),
    ("ini", "[s]\r\na=1\r\n", [put("k", "v", section="s")], "[s]\r\na=1\r\nk=v\r\n"),
    ("ini", "[s]\r\nk=1\r\n", [put("k", "2", section="s")], "[s]\r\nk=2\r\n"),
    ("ini", "a=1\r\nb=2\nk=3\n", [put("k", "4")], "a=1\r\nb=2\nk=4\n"),
    ("ini", BOM + "[s]\nk=1\n", [put("k", "2", section="s")], BOM + "[s]\nk=2\n"),
    ("ini", BOM, [put("k", "v")], BOM + "k = v\n"),
    (
        "ini",
        "# caf\udce9 \u2028 \x0c\n[s]\n",
        [put("k", "\u00fc", section="s")],
        "# caf\udce9 \u2028 \x0c\n[s]\nk = \u00fc\n",
    ),
    ("ini", "[s]\nk = a\n", [put("k", "b", section="s"), put("l", "c", section="s")], "[s]\nk = b\nl = c\n"),
    ("ini", "[s]\nk = v\n", [put("k", "v", section="s", separator=":")], "[s]\nk = v\n"),
    ("ini", "[s]\n", [put("k", None, section="s"), put("k", None, section="no")], "[s]\n"),
    ("conf", "", [put("k", "v")], "k = v\n"),
    ("conf", "a 1\n", [put("k", "v")], "a 1\nk v\n"),
    ("conf", "a 1", [put("k", "v")], "a 1\nk v"),
    ("conf", "a = 1\n\n# end\n\n", [put("k", "v")], "a = 1\n\n# end\nk = v\n\n"),
    ("conf", "a = 1\n", [put("k", "v", separator=" ")], "a = 1\nk v\n"),
    (
        "conf",
        "#k = off\t# (change requires restart)\n",
        [put("k", "on")],
        "#k = off\t# (change requires restart)\nk = on\n",
    ),
    ("conf", "k = off\t\t# kept\n", [put("k", "on")], "k = on\t\t# kept\n"),
    ("conf", "k = 'a # b' # kept\n", [put("k", "'c # d'")], "k = 'c # d' # kept\n"),
    ("conf", "k = a # kept\n", [put("k", "")], "k =  # kept\n"),
    ("conf", "k = # kept\n", [put("k", "a")], "k = a # kept\n"),
    ("conf", "k\n", [put("k", "on")], "k = on\n"),
    ("conf", "k 1\nk 2\n", [put("k", None)], ""),
    ("conf", "k 1\r\n", [put("k", "2")], "k 2\r\n"),
    ("postfix", "", [put("k", "v")], "k = v\n"),
    ("postfix", "a=1\n  2\n", [put("k", "v")], "a=1\n  2\nk=v\n"),
    ("postfix", "k = a,\n  b\nl = c\n", [put("k", "v")], "k = v\nl = c\n"),
    ("postfix", "k = a,\n# kept\n  b\nl = c\n", [put("k", None)], "# kept\nl = c\n"),
    ("properties", "", [put("k", "v")], "k=v\n"),
    ("properties", "a: 1\n", [put("k", "v")], "a: 1\nk: v\n"),
    (
        "properties",
        "a=1\n",
        [put("k e=y", " v\\w\n\u00e9\U0001f600")],
        "a=1\nk\\ e\\=y=\\ v\\\\w\\n\\u00e9\\ud83d\\ude00\n",
    ),
    ("properties", "k = a\\\n  b\\\n  c\nl = d\n", [put("k", "v")], "k = v\nl = d\n"),
    ("properties", "k = a\\\n  b\\\n  c", [put("k", "v")], "k = v"),
    ("properties", "k = a\\\n  b\nl = d\n", [put("k", None)], "l = d\n"),
    ("properties", "k=a\\\r\n  b\r\n", [put("k", "v")], "k=v\r\n"),
    ("properties", "k\n", [put("k", "v")], "k=v\n"),
    ("properties", "\\u006b = 1\n", [put("k", "2")], "\\u006b = 2\n"),
    ("properties", "# caf\udce9\nk=1\n", [put("k", "2")], "# caf\udce9\nk=2\n"),
]


@pytest.mark.parametrize(("form", "before", "wanted", "after"), EDITED)
def test_an_edit_keeps_every_other_byte_and_settles_at_once(form, before, wanted, after) -> None:
    assert edit(before, form, wanted) == after
    assert edit(after, form, wanted) == after
    for each in wanted:
        assert read(after, form, each.section, each.key) == each.value


REFUSED = [
    # format, setting, what the sentence says
    ("yaml", put("k", "v"), "format is 'yaml'; it is one of conf, ini, postfix, properties, apache"),
    ("conf", put("k", "v", section="s"), r"\[s\] k: format conf has no sections; leave section out"),
    ("properties", put("k", "v", section="s"), "format properties has no sections"),
    ("ini", put("", "v"), "'' cannot be the name of an option in a file of format ini"),
    ("ini", put(" k", "v"), "' k' cannot be the name of an option"),
    ("ini", put("k=l", "v"), "'k=l' cannot be the name"),
    ("ini", put("[k", "v"), "cannot be the name"),
    ("ini", put("#k", "v"), "cannot be the name"),
    ("conf", put("k l", "v"), "'k l' cannot be the name"),
    ("conf", put("!k", "v"), "cannot be the name"),
    ("properties", put("k\nl", "v"), "cannot be the name"),
    ("ini", put("k", "v", section="a]b"), "'a]b' cannot be the name of a section"),
    ("ini", put("k", "v", section=" s"), "' s' cannot be the name of a section"),
    ("ini", put("k", "v", separator="->"), "k: separator is '->'; it is '=', ':' or a blank"),
    ("ini", put("k", "v", separator=""), "separator is ''"),
    ("ini", put("k", "a\nb"), "k holds a line end or another control character"),
    ("conf", put("k", "a\rb"), "holds a line end"),
    ("conf", put("k", "a\0b"), "control character"),
    ("ini", put("k", "a\u2028b"), "holds a line end"),
    ("ini", put("k\x0bl", "v"), "control character"),
    ("ini", put("k", " v"), "k: the value begins or ends with a blank, which readers drop"),
    ("conf", put("k", "v\t"), "begins or ends with a blank"),
    ("conf", put("k", "a # b"), "k cannot be set to 'a # b' in a file of format conf: readers would see another value"),
    ("conf", put("k", "#fff"), "readers would see another value"),
    ("conf", put("password", "hunter2 # b"), r"password cannot be set to '\*{8}' in a file of format conf"),
    ("conf", put("k", "v", separator=" : "), "readers would see another value"),
    ("ini", put("k", "v", separator=" "), "readers would see another value"),
]


@pytest.mark.parametrize(("form", "setting", "says"), REFUSED)
def test_what_a_format_cannot_hold_is_refused_in_one_sentence(form, setting, says) -> None:
    with pytest.raises(OptionRefused, match=says):
        edit("", form, [setting])


def test_a_file_that_ends_in_the_middle_of_a_value_is_not_spoilt() -> None:
    with pytest.raises(OptionRefused, match="readers would see another value"):
        edit("a=1\\", "properties", [put("k", "v")])


# Any text and any edit

WORDS = st.sampled_from(["k", "l", "k2", "#k", "[s]", "[t]", "", " ", "  k", "\tl", "'", '"', "\\", "#", "a b", "="])
LINES = st.builds(
    "{}{}{}{}".format, WORDS, st.sampled_from(["=", " = ", ":", " ", "", "\t"]), WORDS, st.sampled_from(["\n", "\r\n"])
)
TEXTS = st.builds(
    lambda bom, lines, last: bom + "".join(lines) + last, st.sampled_from(["", BOM]), st.lists(LINES), WORDS
)
SETTINGS = st.builds(
    Setting,
    st.sampled_from(["", "s", "t"]),
    st.sampled_from(["k", "l", "new"]),
    st.none() | st.sampled_from(["", "v", "a b", "a # b", "'a # b'", "[s]", "= =", "x\\"]),
)
ELSEWHERE = [(section, key) for section in ("", "s", "t") for key in ("k", "l", "k2", "new", "a b")]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LINE_FORMATS), TEXTS, SETTINGS)
def test_an_edit_is_refused_or_changes_this_option_alone(form: str, text: str, setting: Setting) -> None:
    try:
        edited = edit(text, form, [setting])
    except OptionRefused:
        return
    assert edit(edited, form, [setting]) == edited
    for section, key in ELSEWHERE:
        if (section, key) != (setting.section, setting.key):
            assert read(edited, form, section, key) == read(text, form, section, key), (section, key)
    kept = [line for line in edited.split("\n") if line in text.split("\n")]
    assert len(edited.split("\n")) - len(kept) <= 4  # the option, its section, a blank line, an end of line


# Independent readers judge


JUDGED: list[tuple[str, list[Setting]]] = [
    (before, wanted)
    for form, before, wanted, _unused in EDITED
    if form == "ini" and before.count("[s]") < 2 and not before.startswith("[s]\nk\n") and "k=1\nk=2" not in before
]


@pytest.mark.parametrize(("before", "wanted"), JUDGED)
def test_configparser_reads_what_was_set(before: str, wanted: list[Setting]) -> None:
    text = edit(before, "ini", wanted).replace(BOM, "")
    reader = configparser.RawConfigParser(strict=False)
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string("[-]\n" + text)  # what stands before all sections is in one that has no name
    for each in wanted:
        assert reader.get(each.section or "-", each.key, fallback=None) == each.value


JAVA = """
import java.io.*; import java.util.*;
class Read {
    public static void main(String[] names) throws IOException {
        for (String name : names) {
            Properties found = new Properties();
            try (InputStream file = new FileInputStream(name)) { found.load(file); }
            StringBuilder out = new StringBuilder();
            for (Map.Entry<Object, Object> each : new TreeMap<>(found).entrySet())
                for (Object part : new Object[] {each.getKey(), each.getValue()}) {
                    for (char c : part.toString().toCharArray()) out.append(String.format("%04x", (int) c));
                    out.append(' ');
                }
            System.out.println(out);
        }
    }
}
"""
VALUES = ["", " v", "v ", "a\\", "a\tb\nc\rd\fe", "\u00e9\u20ac\U0001f600", "#!=:", "a  b", "C:\\Program Files\\x"]
FOUND = ["", "k = a\\\n  b\\\n  c\nother=x\n", "# caf\u00e9\r\nother : x\r\nk\r\n", "other x\n", "k=1\nk=2"]


@pytest.mark.skipif(shutil.which("javac") is None, reason="LEFT OUT: there is no JDK here")
def test_java_reads_what_was_set(tmp_path) -> None:
    (tmp_path / "Read.java").write_text(JAVA)
    cases = [(found, key, value) for found in FOUND for key in ("k", "k e=y:#!") for value in VALUES]
    for at, (found, key, value) in enumerate(cases):
        text = edit(found, "properties", [put(key, value)])
        (tmp_path / str(at)).write_bytes(text.encode("utf-8"))
    names = [str(tmp_path / str(at)) for at in range(len(cases))]
    command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", str(tmp_path / "Read.java"), *names]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout.splitlines()
    for line, (found, key, value) in zip(lines, cases):
        parts = [bytes.fromhex(part).decode("utf-16-be") for part in line[:-1].split(" ")]
        seen = dict(zip(parts[::2], parts[1::2]))
        assert seen[key] == value, found
        assert seen.get("other") == ("x" if "other" in found else None)
    assert len(lines) == len(cases)


# A file of options


def rows(*settings_: Setting) -> list[dict[str, t.Any]]:
    """Return settings as a module is given them."""
    return [
        {"section": each.section, "key": each.key, "value": each.value, "separator": each.separator}
        if each.value is not None
        else {"section": each.section, "key": each.key, "state": "absent"}
        for each in settings_
    ]


def test_a_file_says_what_it_lacks_and_is_written_with_its_mode(tmp_path) -> None:
    path = tmp_path / "router.ini"
    path.write_bytes(b"# caf\xe9\n[s]\nk = old\n")
    path.chmod(0o640)
    file = OptionFile(str(path), "ini", rows(put("k", "new", section="s"), put("l", "v", section="s"), put("m", None)))
    assert [(change.target, change.reason) for change in file.changes] == [
        ("%s [s] k" % path, "is 'old', planned 'new'"),
        ("%s [s] l" % path, "is not set, planned 'v'"),
    ]
    file.write()
    assert path.read_bytes() == b"# caf\xe9\n[s]\nk = new\nl = v\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert not OptionFile(str(path), "ini", rows(put("k", "new", section="s"), put("l", "v", section="s"))).changes


def test_a_change_never_shows_a_secret(tmp_path) -> None:
    path = tmp_path / "router.conf"
    path.write_text("password = hunter2\npassword_file = /old\n")
    wanted = rows(put("password", "hunter3"), put("password_file", "/new"), put("api_token", "hunter4"))
    changes = OptionFile(str(path), "conf", wanted).changes
    assert [change.reason for change in changes] == [
        "is '********', planned '********'",
        "is '/old', planned '/new'",
        "is not set, planned '********'",
    ]
    assert "hunter" not in json.dumps([[change.before, change.after, change.reason] for change in changes])


STRANGE = [
    ([{"key": "k"}], "option k needs either a value or state: absent"),
    ([{"key": "k", "value": "v", "state": "absent"}], "option k needs either"),
    (rows(put("k", "v"), put("k", "w")), "option k is given twice; give it once, as it is wanted"),
]


@pytest.mark.parametrize(("asked", "says"), STRANGE)
def test_options_that_contradict_themselves_are_refused(tmp_path, asked, says) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(TlsError, match=says):
        OptionFile(str(tmp_path / "x"), "ini", asked)


def test_options_are_set_in_a_file_that_is_there(tmp_path) -> None:
    with pytest.raises(TlsError, match="does not exist; options are set in a file that is there"):
        OptionFile(str(tmp_path / "x"), "ini", rows(put("k", "v")))


def test_a_file_is_edited_whose_folder_is_reached_by_a_link(tmp_path) -> None:
    (tmp_path / "release-7").mkdir()
    (tmp_path / "current").symlink_to("release-7")
    path = tmp_path / "current" / "router.ini"
    path.write_text("[s]\nk = old\n")
    OptionFile(str(path), "ini", rows(put("k", "new", section="s"))).write()
    assert path.read_text() == "[s]\nk = new\n"
    assert (tmp_path / "current").is_symlink()
