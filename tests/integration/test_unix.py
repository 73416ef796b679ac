# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with AIX, Solaris and Linux in it, on twins: from plain to enforced and back with the same playbooks."""

from __future__ import annotations

import json
import os
import shlex
import signal
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from unix.tools.host import environment_of, lives, wait_for
from unix.twin import UnixTwin

from .harness import ENFORCE, SWITCH, Fleet

FMRI: t.Final = "svc:/application/confserv:default"
ON_SOLARIS: t.Final = "confserv@cfg2"
ON_AIX: t.Final = "router@app1"
PAIRS: t.Final = tuple(
    "%s->confserv.default@%s" % (client, host) for client in ("desk@app2", ON_AIX) for host in ("cfg1", "cfg2")
)
OF_ALL: t.Final = (*ENFORCE, "-e", "tls_watch=0.5")


@dataclass
class Mixed:
    """The fleet, and the twins of two of its hosts."""

    fleet: Fleet
    aix: UnixTwin
    solaris: UnixTwin

    @property
    def twins(self) -> tuple[UnixTwin, UnixTwin]:
        """Both of them."""
        return self.aix, self.solaris

    def pid(self, instance: str) -> int:
        """Return the process that a service manager has started for an instance."""
        twin, name = (self.aix, "router") if instance == ON_AIX else (self.solaris, FMRI)
        return int(twin.services()[name]["pid"])

    def known(self) -> list[str]:
        """Return what the service managers know."""
        return [json.dumps(twin.services(), sort_keys=True) for twin in self.twins]


@pytest.fixture
def mixed(tmp_path: Path, net: str) -> t.Iterator[Mixed]:
    """A fleet in the clear: a Java client on AIX and one on Linux, a server on Linux and one on Solaris."""
    fleet = Fleet(tmp_path / "fleet", net=net)
    found = Mixed(
        fleet,
        UnixTwin(tmp_path / "aix", "aix", addresses=[net + ".21"]),
        UnixTwin(tmp_path / "solaris", "solaris", addresses=[net + ".12"]),
    )
    fleet.prepare()
    _with_other_systems(found)
    fleet.up()
    try:
        # The program that plays it is no JVM, and is started before the model takes it for one.
        fleet.edit_yaml("tls_connections.yml", lambda data: data["components"]["router"].update(kind="java"))
        _hand_over(found, ON_AIX)
        _hand_over(found, ON_SOLARIS)
        fleet.must_be_answered()
        yield found
        assert [twin.refused() for twin in found.twins] == ["", ""]
    finally:
        for twin in found.twins:
            twin.end()
        fleet.down()


def _with_other_systems(mixed: Mixed) -> None:
    """Have the inventory say which host runs what, and how the programs there are looked at and told."""

    def model(data: dict[str, t.Any]) -> None:
        addresses = {"cfg1": 11, "cfg2": 12, "app1": 21, "app2": 22}
        systems = {"cfg2": "solaris", "app1": "aix"}
        data["hosts"] = {
            name: {"os": systems.get(name, "linux"), "addresses": ["127.78.0.%d" % number]}
            for name, number in addresses.items()
        }
        data["components"]["desk"]["hosts"] = ["app2"]

    def hosts(data: dict[str, t.Any]) -> None:
        rows: dict[str, t.Any] = {name: {} for name in ("cfg1", "cfg2", "app1", "app2")}
        rows["cfg2"] = {"ansible_python_interpreter": str(mixed.solaris.python)}
        rows["app1"] = {"ansible_python_interpreter": str(mixed.aix.python)}
        data["all"]["hosts"] = rows

    def settings(data: dict[str, t.Any]) -> None:
        server, client = data["tls_settings"]["confserv"], data["tls_settings"]["router"]
        environment = {
            "target": "smf", "unit": FMRI, "libraries": ["openssl", "loader_64"],
            "paths": {"libraries_64": "/opt/confserv/lib/64"},
        }  # fmt: skip
        of_solaris = {name: {"service": FMRI} for name in ("process", "reload", "restart")}
        for name, value in {**of_solaris, "environment": environment}.items():
            server[name] = "{{ %s if inventory_hostname == 'cfg2' else fleet_%s }}" % (json.dumps(value), name)
        folder = "{{ fleet_host }}/confserv/component.pid"
        data.update(
            fleet_process={"pid_file": folder},
            fleet_reload={"signal": "HUP", "pid_file": folder},
            fleet_restart=data["tls_settings"]["desk"]["restart"],
            fleet_environment={},
        )
        client.update(
            format="ini",
            process={"service": "router"},
            restart={"service": "router"},
            environment={
                "target": "src", "unit": "router", "path": str(mixed.aix.folder / "connsec-src" / "router"),
                "libraries": ["openssl", "java", "loader"], "paths": {"libraries": "/opt/router/lib"},
            },
        )  # fmt: skip
        # What its library trusts, by SSL_CERT_FILE: without its variables it verifies nobody.
        client["connect"] = [{**row, "value": "system"} if row["key"] == "trust" else row for row in client["connect"]]

    mixed.fleet.edit_yaml("tls_connections.yml", model)
    mixed.fleet.edit_yaml("hosts.yml", hosts)
    mixed.fleet.edit_yaml("group_vars/all.yml", settings)
    mixed.fleet.make_mutual(presenting=("router", "desk"))


def _hand_over(mixed: Mixed, instance: str) -> None:
    """End a program that the fleet has started, and have its host's service manager start it."""
    folder = mixed.fleet.folder(instance)
    pid = int((folder / "component.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    assert wait_for(lambda: not lives(pid))
    command = json.loads((folder / "command.json").read_text())
    start = folder / "start"
    variables = " ".join("%s=%s" % (name, shlex.quote(value)) for name, value in command["variables"].items())
    start.write_text("#!/bin/sh\ncd %s && exec env %s %s\n" % (folder, variables, shlex.join(command["run"])))
    start.chmod(0o755)
    if instance == ON_AIX:
        mixed.aix.add_subsystem("router", str(start))
        done = mixed.aix.tool("/usr/bin/startsrc", "-s", "router")
    else:
        mixed.solaris.add_service(FMRI, str(start), refresh={"exec": ("astring", [":kill -HUP"])})
        done = mixed.solaris.tool("/usr/sbin/svcadm", "enable", "-s", FMRI)
    assert done.returncode == 0, done.stderr


def variables_of(pid: int) -> dict[str, str]:
    """Return the environment with which a process was started."""
    return dict(row.partition("=")[::2] for row in environment_of(pid))


def held(mixed: Mixed) -> dict[str, bytes]:
    """Return what the option files hold."""
    return {each: mixed.fleet.options(each).read_bytes() for each in ("confserv@cfg1", ON_SOLARIS, ON_AIX, "desk@app2")}


def test_aix_and_solaris_go_from_plain_to_enforced_and_back_like_linux(mixed: Mixed):
    fleet, before, known = mixed.fleet, held(mixed), mixed.known()
    processes = {each: mixed.pid(each) for each in (ON_AIX, ON_SOLARIS)}
    fleet.playbook("rollout", *OF_ALL, "--check", "--diff").must_end(0)
    assert (held(mixed), mixed.known()) == (before, known)

    fleet.playbook("rollout", *OF_ALL).must_end(0)
    assert fleet.stages() == dict.fromkeys(PAIRS, ("enforced", "done")), fleet.report()["connections"]
    by_loader = {ON_AIX: ("JAVA_TOOL_OPTIONS", "LIBPATH"), ON_SOLARIS: ("LD_LIBRARY_PATH_64",)}
    for each, names in by_loader.items():
        assert mixed.pid(each) != processes[each], "its variables came with a restart"
        had = variables_of(mixed.pid(each))
        assert set(names) <= set(had)
        assert had["SSL_CERT_FILE"] == "%s/trust.pem" % fleet.material(each)
    assert (
        "-Djavax.net.ssl.trustStore=%s/" % fleet.material(ON_AIX)
        in variables_of(mixed.pid(ON_AIX))["JAVA_TOOL_OPTIONS"]
    )
    assert mixed.aix.services()["router"]["path"] == "/usr/bin/sh"
    fleet.must_be_answered()
    assert {row["security"] for row in fleet.traffic().values()} == {"mutual"}

    again = fleet.playbook("rollout", *OF_ALL).must_end(0)
    assert again.changed == 0, again.text[-3000:]
    fleet.playbook("verify", *OF_ALL).must_end(0)

    fleet.playbook("rollback", "-e", "tls_scope=all").must_end(0)
    assert held(mixed) == before
    fleet.must_be_answered()
    assert {row["security"] for row in fleet.traffic().values()} == {"clear"}

    _what_left_the_model_goes_and_a_host_that_is_another_is_not_touched(mixed)


def _what_left_the_model_goes_and_a_host_that_is_another_is_not_touched(mixed: Mixed) -> None:
    """Take Solaris' server, which has ended, out of the model, and have it say that AIX' host runs Linux."""
    fleet, material, before = mixed.fleet, mixed.fleet.material(ON_SOLARIS).parent, held(mixed)[ON_AIX]

    def model(data: dict[str, t.Any]) -> None:
        data["components"]["confserv"]["hosts"] = ["cfg1"]
        data["hosts"]["app1"]["os"] = "linux"

    fleet.edit_yaml("tls_connections.yml", model)
    assert mixed.solaris.tool("/usr/sbin/svcadm", "disable", "-s", FMRI).returncode == 0
    assert "SSL_CERT_FILE" in json.dumps(mixed.solaris.services()[FMRI]["current"])
    run = fleet.playbook("rollout", *SWITCH).must_end(2)
    assert "this host runs aix, and the model says linux: correct its os" in run.text
    assert held(mixed)[ON_AIX] == before
    assert not material.exists()
    assert "SSL_CERT_FILE" not in json.dumps(mixed.solaris.services()[FMRI]["current"])
