# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind declares, and how settings and words are put in."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._entities import Instance
from ansible_collections.connsec.tls.plugins.module_utils._core._kind import KindError, expand, parse_kind
from ansible_collections.connsec.tls.plugins.module_utils._core._kind_settings import settle
from ansible_collections.connsec.tls.plugins.module_utils._core._steps import Step

DECLARED = {
    "shape": "{shape}",
    "files": ["{config}"],
    "reads": {"permit": {"each": "{permit}", "with": {"file": "{config}", "format": "{format}"}}},
    "settings": {
        "config": {"type": "path", "required": True},
        "format": {"type": "str", "default": "ini", "choices": ["ini", "conf"]},
        "shape": {"type": "str", "default": "second_listener"},
        "permit": {"type": "list", "default": []},
    },
}


def thing(declared=None, **given):
    kind = parse_kind("thing", role="kind_thing", source="vars/main.yml", declared=declared or DECLARED)
    return settle(kind, given, instance="a@h", where="tls_settings.a on host h")


def test_a_setting_that_is_the_whole_value_keeps_its_type():
    kind = thing(config="/etc/a.ini", permit=[{"section": "s", "key": "k", "value": "v"}])
    assert kind.reads["permit"] == ({"file": "/etc/a.ini", "format": "ini", "section": "s", "key": "k", "value": "v"},)
    assert kind.files == ("/etc/a.ini",)


def test_words_of_the_step_are_put_in_per_listener():
    kind = thing(config="/etc/a.ini", permit=[{"section": "{listener}", "key": "tls", "value": "{secure_port}"}])
    (option,) = expand(kind.reads["permit"], {"listener": "default", "secure_port": 2021})
    assert (option.section, option.key, option.value) == ("default", "tls", "2021")


MISTAKES = [
    ({}, "needs the setting 'config'"),
    ({"config": "etc/a.ini"}, "is not an absolute path"),
    ({"config": "/a", "confg": 1}, "has no setting 'confg'; it has config, format, permit, shape"),
    ({"config": "/a", "format": "xml"}, "format is 'xml'; it is one of ini, conf"),
    ({"config": "/a", "shape": "both"}, "shape is 'both'; it is one of second_listener, same_port, flip"),
    ({"config": "/a", "permit": "x"}, "'x' is not of type list"),
    ({"config": "/a", "permit": [{"key": "k"}]}, "either a value or 'state: absent'"),
    ({"config": "/a", "permit": [{"key": "k", "value": 1, "state": "absent"}]}, "either a value or 'state: absent'"),
    ({"config": "/a", "permit": [{"value": 1}]}, "an option has a file, a key"),
    ({"config": "/a", "permit": [{"key": "k", "value": 1, "vlaue": 2}]}, "has no field 'vlaue'"),
    (
        {"config": "/a", "permit": [{"key": "k", "value": 1, "mode": "both"}]},
        "mode is 'both'; it is one of simple, mutual",
    ),
]


@pytest.mark.parametrize(("given", "sentence"), MISTAKES)
def test_a_mistake_in_settings_is_one_sentence_that_names_its_place(given, sentence):
    with pytest.raises(KindError) as caught:
        thing(**given)
    assert sentence in str(caught.value)
    assert "tls_settings.a on host h" in str(caught.value)


def test_usages_are_those_of_certificates():
    assert thing({"usages": ["client"]}).usages == ("client",)
    with pytest.raises(KindError, match="usages is 'both'; it is one of client, server"):
        thing({"usages": ["both"]})


def test_gates_begin_sessions_as_a_user_and_not_with_a_password():
    login = {"user": "crm", "clients": {"copy": {"user": "copier", "replication": True}}}
    assert thing({"login": login}).login == login
    with pytest.raises(KindError, match="has user, database and replication"):
        thing({"login": {"clients": {"copy": {"password": "x"}}}})


STEP = Step("permit-sql", "permit", Instance("a", "h"), ("sql",), (), "it is due")


@pytest.mark.parametrize(
    ("declared", "stage", "how", "cuts"),
    [
        ({}, "permit", "reload", 5.0),
        ({"apply": "restart"}, "enforce", "restart", 5.0),
        ({"restarts": ["permit"]}, "permit", "restart", 5.0),
        ({"restarts": ["permit"]}, "enforce", "reload", 0.0),
        ({"restarts": ["permit"]}, "load", "reload", 0.0),
    ],
)
def test_a_step_interrupts_where_it_restarts_if_others_do_not(declared, stage, how, cuts):
    kind = thing({"interruption": 5, "restart": {"service": "a"}, **declared})
    step = dataclasses.replace(STEP, stage=stage)
    assert (kind.how(step), kind.cuts(step)) == (how, cuts)


def test_a_stage_that_has_no_step_restarts_nothing():
    with pytest.raises(KindError, match="restarts is 'verify'; it is one of permit, connect, demand, enforce"):
        thing({"restarts": ["verify"]})


def test_the_names_of_the_instance_are_put_in_once():
    declared = {**DECLARED, "process": {"service": "{unit}"}, "settings": {**DECLARED["settings"]}}
    declared["settings"]["unit"] = {"type": "str", "default": "x-{component}.service"}
    declared["settings"]["path"] = {"type": "path", "default": "/units/{unit}"}
    kind = thing({**declared, "files": ["{path}"]}, config="/a")
    assert (kind.process, kind.files) == ({"service": "x-a.service"}, ("/units/x-a.service",))


def test_a_file_of_another_program_says_what_it_is_told_and_may_be_none():
    rows = [{"path": "{config}", "then": {"service": "b"}}, {"path": "{other}", "then": {}}]
    declared = {**DECLARED, "files": rows, "settings": {**DECLARED["settings"], "other": {"type": "path"}}}
    kind = thing(declared, config="/a")
    assert (kind.files, kind.effects) == (("/a",), {"/a": {"service": "b"}})


def test_a_file_to_make_has_its_mode():
    kind = thing({**DECLARED, "files": ["{config}", {"path": "/etc/b.ini", "mode": "0640"}]}, config="/a")
    assert (kind.files, kind.makes) == (("/a", "/etc/b.ini"), {"/etc/b.ini": "0640"})
    for entry in ({"path": "/b", "mode": "rw"}, {"mode": "0640"}, {"path": "/b", "owner": "x"}):
        with pytest.raises(KindError, match=r"files has .*; it has paths, or a path with the mode"):
            thing({**DECLARED, "files": [entry]}, config="/a")


DECLARATIONS = [
    ({**DECLARED, "shap": 1}, "tls_kind has no field 'shap'"),
    ({**DECLARED, "test": ["{tset}"]}, "{tset} is neither a setting of this kind nor a word of a step"),
    ({"settings": {"a": {"type": "text"}}}, "setting 'a' of tls_kind has 'text'"),
]


@pytest.mark.parametrize(("declared", "sentence"), DECLARATIONS)
def test_a_mistake_in_a_kind_is_one_sentence_that_names_its_file(declared, sentence):
    with pytest.raises(KindError, match=r"vars/main\.yml") as caught:
        thing(declared, config="/a")
    assert sentence in str(caught.value)


def test_an_option_that_asks_for_a_word_its_listener_lacks_is_refused():
    kind = thing(config="/a", permit=[{"key": "k", "value": "{secure_port}"}])
    with pytest.raises(KindError, match=r"asks for \{secure_port\}"):
        expand(kind.reads["permit"], {"listener": "default", "secure_port": None})


def test_an_option_of_one_mode_is_asked_for_at_listeners_of_that_mode_alone():
    rows = [{"key": "k", "value": "v"}, {"key": "verify", "value": "optional", "mode": "mutual"}]
    kind = thing(config="/a", permit=rows)
    assert [option.key for option in expand(kind.reads["permit"], {"mode": "simple"})] == ["k"]
    assert [option.key for option in expand(kind.reads["permit"], {"mode": "mutual"})] == ["k", "verify"]


def test_a_key_with_a_number_is_an_option_for_each_part_of_a_list():
    row = {"file": "/f", "format": "conf", "key": "ciphers.{number}", "value": "{ciphers}:{ciphersuites}"}
    found = expand([row], {"ciphers": "A:B", "ciphersuites": "C"})
    assert [(each.key, each.value) for each in found] == [("ciphers.1", "A"), ("ciphers.2", "B"), ("ciphers.3", "C")]
    assert [each.key for each in expand([row], {"ciphers": "", "ciphersuites": "C"})] == ["ciphers.1"]


def test_a_stage_has_options_of_the_kind_and_of_its_users():
    reads = {"permit": [{"file": "{config}", "key": "k", "value": "v"}, DECLARED["reads"]["permit"]]}
    kind = thing({**DECLARED, "reads": reads}, config="/a", permit=[{"key": "more", "value": "w"}])
    assert [row["key"] for row in kind.reads["permit"]] == ["k", "more"]


def test_a_limit_that_nobody_knows_is_refused_where_the_kind_declares_it():
    with pytest.raises(KindError, match=r"on host h: .*'protocol'; did you mean 'protocols'"):
        thing({**DECLARED, "limits": {"protocol": ["TLSv1.2"]}}, config="/a")
