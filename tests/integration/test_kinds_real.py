# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of servers of others, judged by the real programs: their own test, a process on loopback, openssl's client."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest
from ports import ADDRESS, free_port
from unit.look.servers import Authority, Issued

from .real_servers import (
    NAME,
    Made,
    Material,
    Server,
    backend,
    get,
    is_open,
    kind_of,
    program,
    requests,
    s_client,
    seen,
    served,
)

MODES: t.Final = ("simple", "mutual")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority("ours", tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return Authority("foreign", tmp_path_factory.mktemp("foreign")).issue("stranger", NAME)


@pytest.fixture(scope="module")
def client(ours: Authority) -> Issued:
    return ours.issue("client", NAME)


NGINX_MAIN = """\
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; # as Debian has it
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/sites/*;
}}
"""
NGINX_SITE = """\
# the shop, and the same under its old name
server {{
\tlisten {port} default_server;
\tserver_name localhost;

\tlocation / {{
\t\treturn 200 "shop {{}}"; # what it says
\t}}
\tlocation /back {{ proxy_pass http://localhost:{backend}; }}
}}

server {{ listen {port}; server_name old.example; return 200 old; }}
"""
HAPROXY = """\
global
\tlog stderr local0
\t# as Debian has it
\tssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults
\tmode\thttp
        timeout connect 5s
        timeout client  5s
        timeout server  5s

frontend web
\tbind {address}:{port}  # the shop
\thttp-request return status 200 content-type text/plain string "shop" unless {{ path /back }}
\tdefault_backend app

# what it asks
backend app
\tserver app1 localhost:{backend} check inter 200ms
"""
APACHE_MAIN = """\
ServerRoot {folder}
PidFile {folder}/pid
ServerName localhost
ErrorLog {folder}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
{ssl}
Include {folder}/ports.conf
IncludeOptional {folder}/sites/*.conf
"""
APACHE_SSL = """\
LoadModule ssl_module {modules}/mod_ssl.so
SSLCipherSuite HIGH:!aNULL
SSLProtocol all -SSLv3
"""
APACHE_PORTS = """\
# If you change the port, change the virtual host as well
Listen {port}

<IfModule mod_gnutls.c>
\tListen 443
</IfModule>
"""
APACHE_SITE = """\
<VirtualHost *:{port}>
\t#ServerName www.example.com
\tServerName localhost
\tProxyPass /back http://localhost:{backend} retry=0
\tRedirect 404 /nothing
\tErrorDocument 404 shop

\t<Location /private>
\t\tRequire all denied
\t</Location>
</VirtualHost>
"""


def nginx(made: Made, binary: str) -> Server:
    main, site = made.folder / "nginx.conf", made.folder / "sites" / "default"
    main.write_text(NGINX_MAIN.format(**made.words))
    site.write_text(NGINX_SITE.format(**made.words))
    command = [binary, "-e", str(made.folder / "early.log"), "-c", str(main)]
    kind = kind_of(
        "nginx",
        config=str(site),
        test=[*command, "-t", "-q"],
        process={"pid_file": str(made.folder / "pid")},
        reload={"signal": "HUP", "pid_file": str(made.folder / "pid")},
    )
    return Server(kind, made, command)


def haproxy(made: Made, binary: str) -> Server:
    config, pid_file = made.folder / "haproxy.cfg", str(made.folder / "pid")
    config.write_text(HAPROXY.format(**made.words))
    kind = kind_of(
        "haproxy",
        config=str(config),
        backend="backend app",
        server_name="app1",
        server_parameters="check inter 200ms ssl-min-ver {minimum_protocol}",
        test=[binary, "-c", "-q", "-f", str(config)],
        process={"pid_file": pid_file},
        reload={"signal": "USR2", "pid_file": pid_file},
    )
    command = [binary, "-W", "-D", "-p", pid_file, "-f", str(config)]
    return Server(kind, made, command)


def apache(made: Made, binary: str) -> Server:
    main, site, ports = made.folder / "apache.conf", made.folder / "sites" / "default.conf", made.folder / "ports.conf"
    modules = next(each for each in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules") if Path(each).is_dir())
    # mod_ssl is there before its kind comes, or comes with it
    ssl = APACHE_SSL.format(modules=modules) if made.mode == "mutual" else ""
    loads = [] if ssl else [{"key": "LoadModule ssl_module", "value": modules + "/mod_ssl.so"}]
    main.write_text(APACHE_MAIN.format(modules=modules, ssl=ssl, **made.words))
    site.write_text(APACHE_SITE.format(**made.words))
    ports.write_text(APACHE_PORTS.format(**made.words))
    command = [binary, "-f", str(main), "-k"]
    kind = kind_of(
        "apache",
        config=str(site),
        ports=str(ports),
        modules=loads,
        path="/back",
        uri="",
        target="https://{dial}:{secure_port} retry=0",
        test=[binary, "-t", "-f", str(main)],
        process={"pid_file": str(made.folder / "pid")},
        reload={"command": [*command, "graceful"]},
    )
    start = [*command, "start"]
    return Server(kind, made, start)


MAKERS: t.Final = {"nginx": (nginx, "nginx"), "haproxy": (haproxy, "haproxy"), "apache": (apache, "apache2")}


@pytest.fixture(params=[(name, mode) for name in MAKERS for mode in MODES], ids=" ".join)
def server(request: pytest.FixtureRequest, tmp_path: Path, ours: Authority) -> t.Iterator[Server]:
    name, mode = request.param
    make, command = MAKERS[name]
    binary = program(command)
    if binary is None:
        pytest.skip("there is no %s: its kind is LEFT OUT; scripts/programs brings it" % command)
    material = Material.make(tmp_path / "material", ours, ours.issue("server-%s" % name, NAME, ADDRESS))
    (tmp_path / "sites").mkdir()
    tmp_path.chmod(0o755)
    with make(Made(tmp_path, mode, material, free_port(), free_port(), free_port()), binary) as it:
        yield it


def test_a_server_is_permitted_demanded_enforced_and_taken_back_byte_by_byte(
    server: Server, ours: Authority, client: Issued, stranger: Issued
) -> None:
    before, trust, mutual = server.held(), ours.root.certificate_file, server.mode == "mutual"
    both, secure_only = (
        ((server.port, True), (server.secure_port, True)),
        ((server.port, False), (server.secure_port, True)),
    )
    assert "shop" in get(server.port)

    server.step("permit", *both).carry_out("whole")
    assert server.missing("permit") == []
    assert "shop" in get(server.port)
    permitted = seen(server.secure_port, trust, client=client if mutual else None)
    assert permitted["security"] == ("mutual" if mutual else "verified"), permitted["reason"]
    assert permitted["requested"] is mutual
    assert permitted["demanded"] is False
    assert set(permitted["old_protocols"].values()) == {"refused"}
    assert "Verification: OK" in s_client(server.secure_port, trust)

    if mutual:
        server.step("demand", *both).carry_out("whole")
        demanded = seen(server.secure_port, trust, client=client, foreign=stranger)
        assert demanded["security"] == "mutual", demanded["reason"]
        assert (demanded["demanded"], demanded["foreign"]) == (True, "refused")
        without = seen(server.secure_port, trust)
        assert without["class"] == "certificate_required", without
        assert "shop" in served(server.secure_port, trust, client=client)
        for refused in (None, stranger):
            assert "shop" not in served(server.secure_port, trust, client=refused)
        assert "shop" in get(server.port)

    server.step("enforce", *secure_only).carry_out("whole")
    assert not is_open(server.port)
    assert seen(server.secure_port, trust, client=client if mutual else None)["verified"] is True
    assert server.missing("enforce") == server.missing("demand" if mutual else "enforce") == []
    assert {each.key for each in server.missing("permit")} <= {each.key for each in server.options("demand")}

    server.step("enforce", *both).carry_out("reverse")
    assert "shop" in get(server.port)
    if mutual:
        server.step("demand", *both).carry_out("reverse")
    server.step("permit", (server.port, True), (server.secure_port, False)).carry_out("reverse")
    assert server.held() == before
    assert "shop" in get(server.port)
    assert not is_open(server.secure_port)


def answer_of(server: Server, wanted: str) -> str:
    """Return what the server passes on from its backend, once that is as wanted, or after a while."""
    until = time.monotonic() + 5
    while wanted not in (found := get(server.port, "/back")) and time.monotonic() < until:
        time.sleep(0.1)
    return found


CLIENTS: t.Final = [(name, mode) for name in MAKERS for mode in MODES]


@pytest.mark.parametrize("server", CLIENTS, indirect=True, ids=" ".join)
def test_a_client_is_switched_verifies_and_is_taken_back_byte_by_byte(
    server: Server, ours: Authority, stranger: Issued
) -> None:
    before, clients = server.held(), ours.root.certificate_file if server.mode == "mutual" else None
    to = {"dial": NAME, "port": server.backend, "secure_port": free_port(), "server": "app", "server_host": "h2"}
    with backend("clear", server.backend):
        assert "clear" in answer_of(server, "clear")
        with backend("over TLS", to["secure_port"], presents=ours.issue("backend", NAME), clients=clients):
            server.step("connect", (server.port, True), **to).carry_out("whole")
            assert "over TLS" in answer_of(server, "over TLS")
            assert server.missing("connect", **to) == server.missing("verify", **to) == []
        with backend("stolen", to["secure_port"], presents=stranger):
            assert get(server.port, "/back").split()[1] in ("500", "502", "503")
        server.step("connect", (server.port, True), **to).carry_out("reverse")
        assert server.held() == before
        assert "clear" in answer_of(server, "clear")


def test_no_request_is_lost_while_a_server_takes_its_configurations(server: Server) -> None:
    both = (server.port, True), (server.secure_port, True)
    with requests(server.port, "shop") as lost:
        server.step("permit", *both).carry_out("whole")
        if server.mode == "mutual":
            server.step("demand", *both).carry_out("whole")
            server.step("demand", *both).carry_out("reverse")
        server.step("permit", (server.port, True), (server.secure_port, False)).carry_out("reverse")
    assert lost == []
