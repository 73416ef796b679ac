# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model's files: found, read, kept."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("yaml")
pytest.importorskip("idna")

from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.module_utils._core._model import Host, ModelError
from ansible_collections.connsec.tls.plugins.plugin_utils import _model_source as source
from ansible_collections.connsec.tls.plugins.plugin_utils._inventory_hosts import declared_hosts
from ansible_collections.connsec.tls.plugins.plugin_utils._yaml import YamlError, read_yaml

COMPONENTS = """
components:
  a: {kind: k, hosts: [h1]}
  b:
    kind: k
    hosts: [h2]
    listeners:
      l: {port: 1, secure_port: 2, protocol: sip}
"""
CONNECTIONS = """
connections:
  - {client: a, server: b.l}
"""
PLUGIN = "plugin: connsec.tls.connections\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a file and returns its path; messages name files from here."""
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="tls_connections.yml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_file


def test_one_file_is_a_model(write):
    loaded = source.load(write(PLUGIN + COMPONENTS + CONNECTIONS), inventory_hosts=["h1", "h2"])
    assert [pair.id for pair in loaded.model.pairs] == ["a@h1->b.l@h2"]
    assert loaded.files == (loaded.path,)


def test_a_small_file_names_the_files_of_a_large_model(write):
    write(COMPONENTS, "fleet/10-components.yml")
    write(CONNECTIONS, "fleet/20-connections.yml")
    loaded = source.load(write(PLUGIN + "model: [fleet/*.yml]\n"))
    assert [os.path.basename(name) for name in loaded.files] == [
        "tls_connections.yml",
        "10-components.yml",
        "20-connections.yml",
    ]
    assert len(loaded.model.pairs) == 1


def test_a_model_is_parsed_once_for_as_long_as_no_file_changes(write):
    write(COMPONENTS, "fleet/a.yml")
    path = write(PLUGIN + "model: [fleet/*.yml]\n")
    hosts = ["h1", "h2"]
    first = source.load(path, inventory_hosts=hosts)
    assert source.load(path, inventory_hosts=hosts) is first
    assert source.load(path) is first
    assert source.load(path, inventory_hosts=[*hosts, "h3"]) is not first
    write(CONNECTIONS, "fleet/b.yml")
    assert len(source.load(path).model.pairs) == 1
    write(CONNECTIONS.replace("client: a", "client: a, wave: 7"), "fleet/b.yml")
    assert source.load(path).model.pairs[0].wave == 7


MISTAKES = [
    ("components: [", "tls_connections.yml: line 2: did not find expected node content"),
    ("a: 1\na: 2\n", "tls_connections.yml: line 2: 'a' stands there twice, first in line 1"),
    ("components:\n  a: {kind: k, kind: l}\n", "tls_connections.yml: line 2: 'kind' stands there twice"),
    ("a: !vault x\n", "tls_connections.yml: line 1: the tag !vault is not known here"),
    (
        "a: !!python/object:os.system x\n",
        "tls_connections.yml: line 1: the tag tag:yaml.org,2002:python/object:os.system",
    ),
    ("? [a]\n: b\n", "tls_connections.yml: line 1: a key is a list or a mapping"),
    ("a: *x\n", "tls_connections.yml: line 1: found undefined alias"),
    ("a: \x01\n", "tls_connections.yml: "),
    ("- a\n", "tls_connections.yml: the file is not a mapping"),
    ("model: fleet.yml\n", "tls_connections.yml: model: 'fleet.yml' is not a list of file names"),
    ("model: [nothing/*.yml]\n", "tls_connections.yml: model: 'nothing/*.yml' matches no file in "),
    ("$ANSIBLE_VAULT;1.1;AES256\n00\n", "tls_connections.yml: it is encrypted by Ansible Vault"),
    ("[" * 100_000, "tls_connections.yml: it is nested more than 500 levels deep"),
    ("a: " + "{a: " * 100_000, "tls_connections.yml: it is nested more than 500 levels deep"),
    ("- " * 100_000, "tls_connections.yml: it is nested more than 500 levels deep"),
    ("\n".join(" " * n + "a:" for n in range(2_000)), "tls_connections.yml: it is nested more than 500 levels deep"),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES, ids=[ascii(told) for _unused, told in MISTAKES])
def test_a_file_that_is_no_model_is_told_with_its_name(write, text, told):
    with pytest.raises(ModelError) as error:
        source.load(write(text))
    assert str(error.value).startswith(told)


def test_a_file_that_is_not_utf_8_is_told(write, tmp_path):
    path = tmp_path / "tls_connections.yml"
    path.write_bytes(b"a: \xff\n")
    with pytest.raises(ModelError, match="it is not UTF-8 at byte 3"):
        source.load(str(path))


def test_a_file_that_is_not_there_is_told(write, tmp_path):
    with pytest.raises(ModelError, match="it cannot be read: No such file"):
        source.load(str(tmp_path / "tls_connections.yml"))


def test_a_file_that_is_too_large_is_told(write, monkeypatch):
    monkeypatch.setattr(source, "MOST_BYTES", 1 << 20)
    with pytest.raises(ModelError, match="it is larger than 1 MiB"):
        source.load(write("a: %s\n" % ("x" * (1 << 20))))


def test_a_named_file_names_no_further_ones(write):
    write("model: [x.yml]\n", "fleet/a.yml")
    with pytest.raises(ModelError, match="only the file that Ansible reads names others"):
        source.load(write("model: [fleet/a.yml]\n"))


def test_a_mistake_names_the_file_that_it_stands_in(write):
    write("connections:\n  - {client: a, server: b.k}\n", "fleet/a.yml")
    with pytest.raises(ModelError, match=r"^fleet/a\.yml: connections\[0\]\.server: there is no listener 'b\.k'"):
        source.load(write(PLUGIN + "model: [fleet/a.yml]\n" + COMPONENTS))


def test_a_file_that_vault_encrypted_is_read_by_ansibles_reader(write):
    path = write("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    loaded = source.load(path, read_vaulted=lambda name: COMPONENTS + CONNECTIONS)
    assert len(loaded.model.pairs) == 1


def test_aliases_that_multiply_do_not_fill_the_memory(write):
    text = "x0: &x0 [a, a]\n" + "".join("x%d: &x%d [*x%d, *x%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60))
    with pytest.raises(ModelError, match="there is no entry 'x0'"):
        source.load(write(text + "hosts: *x59\n"))


YAML = [
    ("a: 10", {"a": 10}),
    ("a: 010", {"a": "010"}),
    ("a: 22:00", {"a": "22:00"}),
    ("a: 2027-06-30", {"a": "2027-06-30"}),
    ("a: yes", {"a": True}),
    ("a: ~", {"a": None}),
    ("a:", {"a": None}),
    ("a: 1.5", {"a": "1.5"}),
    ("a: '10'", {"a": "10"}),
    ("a: &b {c: 1}\nd: {<<: *b, e: 2}", {"a": {"c": 1}, "d": {"c": 1, "e": 2}}),
    ("a: &b {c: 1}\nd: {<<: *b, c: 2}", {"a": {"c": 1}, "d": {"c": 2}}),
    ("", None),
]


@pytest.mark.parametrize(("text", "data"), YAML)
def test_yaml_is_read_as_people_mean_it(text, data):
    assert read_yaml(text) == data


def test_a_double_key_beside_a_merge_is_told():
    with pytest.raises(YamlError, match="line 2: 'c' stands there twice"):
        read_yaml("a: &b {c: 1}\nd: {<<: *b, c: 2, c: 3}")


def test_an_action_gets_the_model_or_a_sentence(write):
    path = write(PLUGIN + COMPONENTS + CONNECTIONS)
    assert source.model_from_vars({"tls_model_path": path}).path == path
    with pytest.raises(TlsError, match=r"^what is wrong$"):
        source.model_from_vars({"tls_model_path": path, "tls_model_error": "what is wrong"})
    with pytest.raises(TlsError, match=r"^no connections were enumerated: "):
        source.model_from_vars({})


def test_an_action_that_finds_no_parsed_model_asks_the_variables(write):
    path = write(PLUGIN + COMPONENTS + CONNECTIONS, "other/tls_connections.yml")
    task_vars = {
        "tls_model_path": path,
        "groups": {"all": ["h1", "h2"]},
        "hostvars": {"h1": {"tls_os": "aix"}, "h2": {"tls_addresses": ["192.0.2.1"]}},
    }
    model = source.model_from_vars(task_vars).model
    assert (model.hosts["h1"].os, model.pairs[0].dial) == ("aix", "192.0.2.1")


DIFFERENCES = [
    ({"tls_os": "linux"}, None),
    ({"tls_os": "aix"}, "host h1: tls_os in its variables is aix, and hosts.yml:3 says linux"),
    ({"tls_os": "AIX"}, "'AIX' is not one of linux, aix, solaris, windows"),
    ({"tls_addresses": ["192.0.2.1", "h1.example"]}, None),
    ({"tls_addresses": ["h1.example", "192.0.2.1"]}, None),
    (
        {"tls_addresses": ["h1.example"]},
        "host h1: tls_addresses in its variables is h1.example, and hosts.yml:3 says 192.0.2.1, h1.example",
    ),
    ({"ansible_system": "Linux"}, None),
    ({"ansible_system": "AIX"}, "host h1: its facts say aix, and hosts.yml:3 says linux"),
    ({"ansible_facts": {"system": "Win32NT"}}, "host h1: its facts say windows"),
    ({}, None),
]


@pytest.mark.parametrize(("variables", "told"), DIFFERENCES)
def test_variables_that_say_otherwise_are_told_with_both_places(write, variables, told):
    host = Host("h1", os="linux", os_reason="declared", addresses=("192.0.2.1", "h1.example"), source="hosts.yml:3")
    declared = {"h1": host, "h2": Host("h2")}
    model = source.load(write(PLUGIN + COMPONENTS), inventory_hosts=["h1", "h2"], declared=declared).model
    if told is None:
        source.check_against_hostvars(model, {"h1": variables})
        return
    with pytest.raises(ModelError) as error:
        source.check_against_hostvars(model, {"h1": variables})
    assert told in str(error.value)


SYSTEMS = [
    ({}, "linux"),
    ({"ansible_connection": "ssh"}, "linux"),
    ({"ansible_connection": "winrm"}, "windows"),
    ({"ansible_connection": "ansible.builtin.psrp"}, "windows"),
    ({"ansible_connection": "ssh", "ansible_shell_type": "powershell"}, "windows"),
    ({"ansible_connection": "winrm", "tls_os": "aix"}, "aix"),
    ({"tls_os": "{{ x }}"}, "linux"),
]


@pytest.mark.parametrize(("variables", "system"), SYSTEMS)
def test_the_system_is_declared_or_follows_from_the_connection(variables, system):
    assert declared_hosts([("h1", variables)])["h1"].os == system
