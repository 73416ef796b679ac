# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host hands on twins of AIX and Solaris: processes, services, environments, sockets, files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from unit.hands.instances import FOLDER, NAME, Installed
from unit.look.servers import Authority

from .tools.host import lives, wait_for
from .twin import UnixTwin

ROOT: t.Final = Path(__file__).resolve().parents[2]
FMRI: t.Final = "svc:/application/router:default"
NAMES: t.Final = {"aix": "router", "solaris": FMRI}
SYSTEMS: t.Final = ("aix", "solaris")
HANDS: t.Final = "from ansible_collections.connsec.tls.plugins.module_utils._host."
#: A program that runs until it is told to end, and opens a port where its second argument names one.
PROGRAM: t.Final = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
held = []
while True:
    held.append(server.accept()[0])
"""


@pytest.fixture(params=SYSTEMS)
def twin(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[UnixTwin]:
    """A twin of each system, with a service that listens on a port of it."""
    made = UnixTwin(tmp_path / "twin", request.param, addresses=["127.0.0.1"])
    program, port = tmp_path / "program.py", _free_port()
    program.write_text(PROGRAM)
    start = tmp_path / "start"
    start.write_text('#!/bin/sh\nexec "%s" "%s" 127.0.0.1 "$@"\n' % (sys.executable, program))
    start.chmod(0o755)
    made.port = port  # type: ignore[attr-defined]
    if request.param == "aix":
        made.add_subsystem("router", str(start), str(port))
        assert made.tool("/usr/bin/startsrc", "-s", "router").returncode == 0
    else:
        made.add_service(FMRI, "%s %d" % (start, port))
        assert made.tool("/usr/sbin/svcadm", "enable", "-s", FMRI).returncode == 0
    assert wait_for(lambda: _answers(port))
    yield made
    made.end()
    assert made.refused() == ""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def pid_of(twin: UnixTwin) -> int:
    """Return the service's process, as its manager has it."""
    return int(twin.services()[NAMES[twin.system]]["pid"])


def on(twin: UnixTwin, code: str, **words: t.Any) -> t.Any:
    """Run host hands on the twin's Python, and return what ``answer`` is then."""
    lines = ["import json", "words = json.loads(%r)" % json.dumps(words), code, "print(json.dumps(answer))"]
    done = twin.run("\n".join(lines), PYTHONPATH=str(ROOT / "build"))
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_service_is_found_with_its_processes_its_start_and_its_account(twin: UnixTwin) -> None:
    code = HANDS + "_process import descendants, pids_of, runs, started_at, user_of\n"
    code += "pids = pids_of({'service': words['name']})\n"
    code += "answer = [pids, started_at(pids[0]), user_of(pids[0]), runs(pids[0]), runs(words['gone']), descendants(1)]"
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        pids, started, user, is_there, was_there, below = on(twin, code, name=NAMES[twin.system], gone=ended.pid)
    assert pids == [pid_of(twin)]
    assert time.time() - 120 < started <= time.time()
    assert (user, is_there, was_there) == (_account(), True, False)
    assert pids[0] in below


def _account() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def test_a_start_is_never_told_later_than_it_was(twin: UnixTwin) -> None:
    code = HANDS + "_process import started_at\nanswer = started_at(words['pid'])"
    before = time.time()
    with subprocess.Popen(["sleep", "30"]) as process:
        try:
            assert on(twin, code, pid=process.pid) <= before
        finally:
            process.kill()


def test_a_service_is_restarted_as_another_process_and_is_there_when_the_restart_is_over(twin: UnixTwin) -> None:
    before = pid_of(twin)
    code = HANDS + "_program import apply, wait_until\nprocess = {'service': words['name']}\n"
    code += "apply(process, what='restart')\n"
    code += "ports = [{'address': '127.0.0.1', 'port': words['port'], 'open': True}]\n"
    code += "answer = wait_until(process, ports, seconds=20)"
    after = on(twin, code, name=NAMES[twin.system], port=twin.port)  # type: ignore[attr-defined]
    assert after == [pid_of(twin)] != [before]
    assert not lives(before)


def test_a_service_that_is_not_there_is_told_with_one_sentence(twin: UnixTwin) -> None:
    code = HANDS + "_process import ProcessUnknown, pids_of\n"
    code += "try:\n    answer = pids_of({'service': words['name']})\n"
    code += "except ProcessUnknown as error:\n    answer = str(error)"
    name = NAMES[twin.system].replace("router", "absent")
    sentence = on(twin, code, name=name)
    assert name in sentence
    assert "\n" not in sentence


def test_a_reload_is_refused_where_src_only_has_signals_and_done_by_smf(twin: UnixTwin) -> None:
    code = HANDS + "_program import ProgramError, apply\n"
    code += "try:\n    answer = apply({'service': words['name']}, what='reload')\n"
    code += "except ProgramError as error:\n    answer = str(error)"
    told = on(twin, code, name=NAMES[twin.system])
    assert (told or "").count("only supports signal communication") == (1 if twin.system == "aix" else 0)


# Environments


def variables(twin: UnixTwin, wanted: dict[str, str], **spec: t.Any) -> dict[str, t.Any]:
    """Plan and make the environment of the service, and return reasons, what is due in a look, and what runs."""
    target = {"aix": "src", "solaris": "smf"}[twin.system]
    asked = {"name": "router@h1", "target": target, "unit": NAMES[twin.system], **spec}
    code = HANDS + "_environments import Environments\n" + HANDS + "_environment_file import environment_edit\n"
    code += "asked, wanted = words['asked'], words['wanted']\n"
    code += "due = list(environment_edit(asked['name'], asked, wanted)[1].due)\n"
    code += "asked['process'] = {'service': asked['unit']}\n"
    code += "found = Environments([(asked, wanted)])\nreasons = [change.reason for change in found.changes]\n"
    code += "for change in found.changes:\n    found.make(change)\n"
    code += "found.settle()\nanswer = {'due': due, 'reasons': reasons, 'running': found.running()}"
    return dict(on(twin, code, asked=asked, wanted=wanted))


def restart(twin: UnixTwin) -> None:
    """Restart the service by the hands."""
    code = HANDS + "_program import apply\nanswer = apply({'service': words['name']}, what='restart')"
    on(twin, code, name=NAMES[twin.system])


def test_a_service_gets_its_variables_at_its_restart_and_not_before(twin: UnixTwin, tmp_path: Path) -> None:
    spec = {"path": str(tmp_path / "src" / "router")} if twin.system == "aix" else {}
    wanted = {"SSL_CERT_FILE": "/etc/connsec/router/current/trust.pem", "JAVA_TOOL_OPTIONS": "-Da=b -Dc=d"}
    before = pid_of(twin)
    first = variables(twin, wanted, **spec)
    assert first["due"] == sorted(wanted)
    assert first["running"]["router@h1"]["missing"] == sorted(wanted)
    assert pid_of(twin) == before
    assert lives(before)
    again = variables(twin, wanted, **spec)
    assert (again["due"], again["reasons"]) == ([], [])
    restart(twin)
    assert variables(twin, wanted, **spec)["running"]["router@h1"] == {
        "pids": [pid_of(twin)], "missing": [], "unreadable": None,
    }  # fmt: skip
    assert pid_of(twin) != before


def test_variables_are_taken_out_again_and_the_service_is_as_it_was(twin: UnixTwin, tmp_path: Path) -> None:
    spec = {"path": str(tmp_path / "src" / "router")} if twin.system == "aix" else {}
    before = {key: value for key, value in twin.services()[NAMES[twin.system]].items() if key in ("path", "cmdargs")}
    current = json.dumps(twin.services()[NAMES[twin.system]].get("current"))
    wanted = {"SSL_CERT_FILE": "/etc/connsec/router/current/trust.pem"}
    variables(twin, wanted, **spec)
    restart(twin)
    assert variables(twin, {}, **spec)["reasons"] != []
    restart(twin)
    after = twin.services()[NAMES[twin.system]]
    assert {key: after[key] for key in before} == before
    assert json.dumps({**(after.get("current") or {})}).replace(', "connsec": {}', "") == (
        current if after.get("current") else "{}"
    )
    assert variables(twin, {}, **spec)["reasons"] == []
    assert not (tmp_path / "src" / "router").exists()


# Collecting peers


def test_the_collector_keeps_who_used_a_listener_and_not_what_had_ended_before(twin: UnixTwin, tmp_path: Path) -> None:
    port = twin.port  # type: ignore[attr-defined]
    code = HANDS + "_soak import Collector\n" + HANDS + "_collected import collected\nimport subprocess, sys\n"
    code += "found = Collector(words['folder'], [words['listener']])\n"
    code += "for change in found.changes():\n    found.make(change)\n"
    code += "program = words['folder'] + '/soak.d/collect.py'\n"
    code += "done = subprocess.run([sys.executable, program, '--seconds', '0.5'], capture_output=True, text=True)\n"
    code += "answer = [done.returncode, done.stderr, collected(words['folder'])['listeners'].get('it')]"
    listener = {"id": "it", "addresses": ["127.0.0.1"], "port": port}
    with socket.socket() as client:
        client.bind(("127.9.9.9", 0))
        client.connect(("127.0.0.1", port))
        status, said, seen = on(twin, code, folder=str(tmp_path / "connsec"), listener=listener)
        assert (status, said) == (0, "")
        assert (seen["peers"]["127.9.9.9"]["count"], len(seen["intervals"])) == (1, 1)
    tool = twin.folder / "root/usr/bin/netstat"
    kept = tool.read_text()
    tool.write_text("#!/bin/sh\nexit 1\n")
    status, said, after = on(twin, code, folder=str(tmp_path / "connsec"), listener=listener)
    tool.write_text(kept)
    assert (status, said.startswith("nothing was watched: "), said.count("\n")) == (1, True, 1)
    assert after == seen, "what was not seen was not watched"


# Removal


def removed(twin: UnixTwin, router: Installed) -> str:
    """Remove an instance that nobody names; return the reason, or why it stays."""
    code = HANDS + "_removal import Removal\n"
    code += "try:\n    found = Removal(words['directory'], {'name': words['name'], 'folder': words['folder']})\n"
    code += "    answer = found.plan().reason\n    found.make()\n"
    code += "except Exception as error:\n    answer = str(error)"
    return str(on(twin, code, directory=str(router.directory), name=NAME, folder=FOLDER))


def test_what_nobody_names_any_more_stays_while_a_process_names_it_and_goes_with_its_variables(
    twin: UnixTwin, tmp_path: Path
) -> None:
    router = Installed(tmp_path / "connsec")
    spec = {"path": str(tmp_path / "src" / "router")} if twin.system == "aix" else {}
    place = {"target": {"aix": "src", "solaris": "smf"}[twin.system], "unit": NAMES[twin.system], **spec}
    router.install("1", environment=place)
    before = {key: value for key, value in twin.services()[NAMES[twin.system]].items() if key in ("path", "cmdargs")}
    variables(twin, {"SSL_CERT_FILE": str(router.path("trust.pem"))}, name=NAME, **spec)
    restart(twin)
    assert removed(twin, router) == "%s is not removed: process %d names it" % (NAME, pid_of(twin))
    with subprocess.Popen(
        [sys.executable, "-c", "input()", str(router.base / "current")], stdin=subprocess.PIPE
    ) as process:
        try:
            stop = {"aix": ["/usr/bin/stopsrc", "-s"], "solaris": ["/usr/sbin/svcadm", "disable", "-s"]}
            pid = pid_of(twin)
            assert twin.tool(*stop[twin.system], NAMES[twin.system]).returncode == 0
            assert wait_for(lambda: not lives(pid))
            assert removed(twin, router) == "%s is not removed: process %d names it" % (NAME, process.pid)
        finally:
            process.kill()
    assert removed(twin, router) == "the model does not name it"
    assert not router.base.exists()
    after = twin.services()[NAMES[twin.system]]
    assert {key: after[key] for key in before} == before
    assert "SSL_CERT_FILE" not in json.dumps(after.get("current"))


def test_nothing_is_removed_where_processes_cannot_be_asked(twin: UnixTwin, tmp_path: Path) -> None:
    router = Installed(tmp_path / "connsec")
    router.install("1")
    tool = twin.folder / "root" / {"aix": "usr/bin/ps", "solaris": "usr/bin/pargs"}[twin.system]
    kept = tool.read_text()
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert "is not removed: which processes name it cannot be told: " in removed(twin, router)
    tool.write_text(kept)
    assert router.base.exists()


# Sockets


def test_sockets_are_a_processs_own_where_the_system_says_so_and_nobodys_where_it_does_not(twin: UnixTwin) -> None:
    port = twin.port  # type: ignore[attr-defined]
    code = HANDS + "_sockets import own_sockets\nanswer = [row.to_json() for row in own_sockets(words['pids'])]"
    with socket.create_connection(("127.0.0.1", port)) as client:
        local = "127.0.0.1:%d" % client.getsockname()[1]
        rows = on(twin, code, pids=[pid_of(twin)])
    session = [row for row in rows if row["peer"] == local]
    assert [row["state"] for row in session] == ["ESTABLISHED"]
    assert session[0]["owned"] is (twin.system == "solaris")
    others = [row for row in rows if row["local"] == local]
    assert bool(others) is (twin.system == "aix"), "its client's end is another process's"


def test_the_peers_of_a_listener_are_watched(twin: UnixTwin) -> None:
    port = twin.port  # type: ignore[attr-defined]
    code = HANDS + "_watching import Watched, watch\n"
    code += "answer = watch([Watched('it', ('127.0.0.1',), words['port'])], seconds=0.3)"
    with socket.create_connection(("127.0.0.1", port)) as client:
        seen = on(twin, code, port=port)["it"]
        ports = [peer["port"] for peer in seen["peers"]]
        assert client.getsockname()[1] in ports
    assert seen["listening"] is True
    assert seen["coverage"]["events"] is False
    assert seen["coverage"]["samples"] >= 1


def test_a_udp_port_is_a_processs_own_where_the_system_says_so_and_may_be_anybodys_where_it_does_not(
    twin: UnixTwin,
) -> None:
    code = HANDS + "_sockets import udp_ports\n"
    code += "answer = [words['port'] in udp_ports(pids) for pids in ([words['mine']], [words['other']])]"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        found = on(twin, code, port=port, mine=os.getpid(), other=pid_of(twin))
    assert found == [True, twin.system == "aix"]
    assert on(twin, code, port=port, mine=os.getpid(), other=pid_of(twin)) == [False, False]


# The system's own trust

FAMILIES: t.Final = {
    "aix": (["/opt/freeware/bin/update-ca-bundles"], "/opt/freeware/share/pki/ca-trust-source/anchors"),
    "solaris": (["/usr/sbin/svcadm", "refresh", "-s", "svc:/system/ca-certificates:default"], "/etc/certs/CA"),
}
#: Folders of both systems in which something of it lies.
TRUSTING: t.Final = ("/opt/freeware/share", "/opt/freeware/etc", "/var/ssl", "/etc/certs")


@pytest.fixture(params=SYSTEMS)
def trusting(request: pytest.FixtureRequest, tmp_path: Path) -> UnixTwin:
    """A twin of each system that trusts what its vendor ships."""
    made = UnixTwin(tmp_path / "twin", request.param)
    made.ship(Authority("shipped", tmp_path).root.pem)
    return made


def system_trust(twin: UnixTwin, pem: str, state: str = "present") -> t.Any:
    """Have the system trust a certificate, or trust it no more; return the reasons, or the sentence of a refusal."""
    code = HANDS + "_anchors import read_given\n" + HANDS + "_system_trust import SystemTrust, own_store\n"
    code += "given = read_given([{'name': 'corp', 'pem': words['pem']}], state=words['state'])\n"
    code += "try:\n    found = SystemTrust(own_store(), given, directory=words['directory'])\n"
    code += "    answer = [change.reason for change in found.changes]\n"
    code += "    found.settle() if answer else None\n"
    code += "except Exception as error:\n    answer = str(error)"
    return on(twin, code, pem=pem, state=state, directory=str(twin.folder / "connsec"))


def test_the_system_trusts_an_anchor_and_trusts_it_no_more_and_is_as_it_was(trusting: UnixTwin, tmp_path: Path) -> None:
    before, asked = trusting.files(*TRUSTING), len(trusting.asked())
    pem = Authority("corp", tmp_path).root.pem
    command, anchors = FAMILIES[trusting.system]
    assert system_trust(trusting, pem) == ["the system does not trust it"]
    assert system_trust(trusting, pem) == []
    (file,) = set(trusting.files(*TRUSTING)) - set(before)
    assert (file.rpartition("/")[0], file.rpartition(".")[2]) == (anchors, "pem")
    listed = {"aix": "/var/ssl/cert.pem", "solaris": "/etc/certs/ca-certificates.crt"}[trusting.system]
    assert (trusting.folder / "root" / listed[1:]).read_text().count("BEGIN CERTIFICATE") == 2
    assert system_trust(trusting, pem, "absent") == ["it is to be trusted no more"]
    assert trusting.files(*TRUSTING) == before
    managed = [words for words in trusting.asked()[asked:] if not words[0].startswith("/lib/svc/method")]
    assert managed == [command, command]
    assert trusting.refused() == ""


def test_what_the_system_cannot_take_in_leaves_it_as_it_was(trusting: UnixTwin, tmp_path: Path) -> None:
    folder = FAMILIES[trusting.system][1]
    before = trusting.files(*TRUSTING)
    command = (
        trusting.folder
        / "root"
        / {"aix": "opt/freeware/bin/update-ca-bundles"}.get(trusting.system, "lib/svc/method/ca-certificates")
    )
    kept = command.read_text()
    command.write_text("#!/bin/sh\nexit 1\n")
    told = system_trust(trusting, Authority("corp", tmp_path).root.pem)
    said = {"aix": "the refresh of the system's trust (", "solaris": "ca-certificates.crt lacks anchor corp"}
    assert said[trusting.system] in told
    command.write_text(kept)
    assert {name: text for name, text in trusting.files(*TRUSTING).items() if name.startswith(folder)} == {
        name: text for name, text in before.items() if name.startswith(folder)
    }


# Files


def test_a_file_is_written_where_folders_cannot_be_synced(twin: UnixTwin, tmp_path: Path) -> None:
    code = "import os\nos.umask(0o077)\n" + HANDS + "_files import locked, make_own, write_durable\n"
    code += "make_own(words['base'])\nwith locked(words['base']):\n"
    code += "    write_durable(words['base'] + '/it', b'text', mode=0o444)\nanswer = 0"
    base = tmp_path / "connsec"
    on(twin, code, base=str(base))
    assert (base / "it").read_bytes() == b"text"
    assert (base.stat().st_mode & 0o777, (base / "it").stat().st_mode & 0o777) == (0o755, 0o444)


def test_a_host_that_the_model_takes_for_another_system_refuses_to_be_looked_at(twin: UnixTwin) -> None:
    code = HANDS + "_observe import observe\n"
    code += "try:\n    answer = observe(words)\nexcept Exception as error:\n    answer = str(error)"
    assert on(twin, code, token="t") == "this host runs %s, and the model says linux: correct its os" % twin.system
    assert on(twin, code, token="t", system=twin.system)["token"] == "t"


def test_the_twins_python_says_its_system_and_has_nothing_of_linux(twin: UnixTwin) -> None:
    code = "import os, sys, socket\nanswer = [os.uname().sysname, sys.platform, os.path.exists('/proc/self'),"
    code += " hasattr(os, 'memfd_create'), hasattr(socket, 'AF_NETLINK')]"
    names = {"aix": ["AIX", "aix"], "solaris": ["SunOS", "sunos5"]}
    assert on(twin, code) == [*names[twin.system], False, False, False]


GNU: t.Final = [
    ("/usr/bin/ps", "--no-headers"),
    ("/usr/bin/ps", "-o", "lstart="),
    ("/usr/bin/netstat", "-tlnp"),
    ("/usr/sbin/ifconfig", "-s"),
]


@pytest.mark.parametrize("argv", GNU, ids=" ".join)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_twins_tools_refuse_what_their_documentation_does_not_have(
    system: str, argv: tuple[str, ...], tmp_path: Path
) -> None:
    made = UnixTwin(tmp_path / "twin", system)
    assert made.tool(*argv).returncode == 2
    assert argv[0] in made.refused()
