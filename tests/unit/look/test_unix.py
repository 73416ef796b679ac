# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools of AIX and Solaris say, read: texts in the form that their vendors document."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._unix import (
    TOOLS,
    Process,
    Socket,
    ToolUnread,
    family,
    named_in_pargs,
    named_in_ps,
    parse_ifconfig,
    parse_lssrc,
    parse_netstat_aix,
    parse_netstat_solaris,
    parse_pargs,
    parse_processes,
    parse_ps_environment,
    parse_stanza,
    parse_svcs,
    parse_udp_aix,
    parse_udp_solaris,
    parse_words,
)

PS = """\
       1        0     root  10-03:02:01 /etc/init
 5308550  3211434     root     02:05 /usr/sbin/inetd -d
 7340424  5308550   nobody  01:00:00 /opt/router/bin/router -c /etc/router.ini
 7340425  5308550   nobody        -  <defunct>
"""


def test_processes_are_read_without_those_that_ended():
    found = parse_processes(PS)
    assert sorted(found) == [1, 5308550, 7340424]
    assert found[7340424] == Process(7340424, 5308550, "nobody", 3600, "/opt/router/bin/router -c /etc/router.ini")
    assert (found[1].age, found[5308550].age) == (10 * 86400 + 3 * 3600 + 121, 125)


def test_a_familys_children_are_found_and_init_is_nobodys_child():
    rows = {
        pid: Process(pid, parent, "root", 0, "x") for pid, parent in ((0, 0), (1, 0), (5, 1), (6, 5), (7, 6), (8, 1))
    }
    assert family(rows, 5) == [6, 7]
    assert family(rows, 0) == [1, 5, 8, 6, 7]


EWW = """\
     PID    TTY STAT  TIME COMMAND
 7340424      - A     0:00 /opt/router -D mode=fast PATH=/bin JAVA_TOOL_OPTIONS=-Da=b -Dc=d SSL_CERT_FILE=/t.pem LANG=C
"""


def test_an_environment_is_read_out_of_one_line_with_blanks_in_values():
    found = parse_ps_environment(EWW, ["SSL_CERT_FILE", "JAVA_TOOL_OPTIONS", "LIBPATH", "LANG"])
    assert found == {
        "SSL_CERT_FILE": "/t.pem",
        "JAVA_TOOL_OPTIONS": "-Da=b -Dc=d",
        "LIBPATH": None,
        "LANG": "C",
    }


def test_an_environment_that_is_not_shown_is_not_taken_for_an_empty_one():
    with pytest.raises(ToolUnread, match="only its account and root"):
        parse_ps_environment("  PID TTY STAT TIME COMMAND\n 1 - A 0:00 /etc/init\n", ["LANG"])


def test_pargs_has_a_line_for_each_variable():
    text = "4711:\t/opt/router/bin/router\nenvp[0]: PATH=/usr/bin\nenvp[1]: X=a=b c\n"
    assert parse_pargs(text, ["PATH", "X", "Y"]) == {"PATH": "/usr/bin", "X": "a=b c", "Y": None}


def test_the_processes_that_name_a_folder_are_told_by_their_lines():
    assert named_in_ps(EWW + "       1      - A     0:00 /etc/init\n", "SSL_CERT_FILE=/t.pem") == [7340424]
    wrapped = EWW.replace("SSL_CERT_FILE=/t.pem", "SSL_CERT_FI\nLE=/t.pem")
    assert named_in_ps(wrapped + " 4711  pts/1 T  1:02:03 tail\n", "SSL_CERT_FILE=/t.pem") == [7340424]
    assert named_in_ps("     PID    TTY STAT  TIME COMMAND\n", "COMMAND") == []
    text = "1:\t/sbin/init\nargv[0]: init\n\n4711:\t/opt/router\nargv[0]: /opt/router\nenvp[0]: A=/x/current/t.pem\n"
    assert named_in_pargs(text, "/x/") == [4711]
    assert (named_in_pargs(text, "init"), named_in_pargs(text, "/y/")) == ([1], [])


LSSRC = [
    (" router           connsec          7340424      active\n", ([7340424], "active")),
    (" router                            7340424      active\n", ([7340424], "active")),
    (" router           connsec                       inoperative\n", ([], "inoperative")),
    (
        " router           connsec          7340424      active\n"
        " router           connsec                       inoperative\n",
        ([7340424], "active"),
    ),
]


@pytest.mark.parametrize(("rows", "expected"), LSSRC)
def test_the_status_of_a_subsystem_is_read_also_where_it_was_changed_while_it_ran(rows, expected):
    assert parse_lssrc("Subsystem         Group            PID          Status\n" + rows, "router") == expected


def test_a_subsystem_that_is_not_on_file_is_none():
    with pytest.raises(ToolUnread, match="no subsystem 'router'"):
        parse_lssrc("0513-085 The router Subsystem is not on file.\n", "router")


def test_the_processes_of_a_service_instance_are_read():
    text = "online         Nov_30   svc:/application/router:default\n"
    text += "               Nov_30       4711 router\n               10:11:12     4712 router\n"
    assert parse_svcs(text, "svc:/application/router:default") == ([4711, 4712], "online")
    assert parse_svcs("offline*       10:11:12 svc:/application/router:default\n", "x") == ([], "offline")
    with pytest.raises(ToolUnread, match="knows no service instance"):
        parse_svcs("", "x")
    with pytest.raises(ToolUnread, match="several service instances"):
        parse_svcs("online 10:00:00 svc:/a:one\nonline 10:00:00 svc:/a:two\n", "a")


AIX = """\
Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)
tcp        0      0  *.22                   *.*                    LISTEN
tcp4       0      0  192.0.2.8.2021         192.0.2.9.40000        ESTABLISHED
tcp6       0      0  fe80::1%en0.2021       2001:db8::2.40001      FIN_WAIT_2
tcp4       0      0  *.32790                *.*                    CLOSED
udp4       0      0  *.514                  *.*

Active UNIX domain sockets
SADR/PCB         Type   Recv-Q Send-Q Inode  Conn Refs Nextref Addr
"""


UDP = """\

UDP: IPv4
   Local Address        Remote Address      User      Pid       Command      State
-------------------- -------------------- -------- -------- -------------- ----------
*.514                                     root          912 syslogd        Idle
192.0.2.8.2021       192.0.2.9.40000      router       4711 router         Connected
*.2049                                    Idle
*.*                                       root          901 in.mpathd      Unbound

UDP: IPv6
   Local Address                     Remote Address                   User      Pid       Command      State      If
--------------------------------- --------------------------------- -------- -------- -------------- ---------- -----
*.514                                                               102           912 syslogd        Idle       net0
"""


def test_netstat_tells_udp_ports_and_whose_they_are_where_it_does():
    assert parse_udp_aix(AIX) == [(514, None)]
    assert parse_udp_solaris(UDP) == [(514, 912), (2021, 4711), (2049, None), (514, 912)]
    with pytest.raises(ToolUnread, match="cannot be read"):
        parse_udp_aix("udp4       0      0  here.there   *.*\n")
    with pytest.raises(ToolUnread, match="cannot be read"):
        parse_udp_solaris("*.syslog       root   912 syslogd   Idle\n")


def test_netstat_of_aix_tells_nobodys_sockets():
    assert parse_netstat_aix(AIX) == [
        Socket(("0.0.0.0", 22), ("0.0.0.0", 0), "LISTEN"),
        Socket(("192.0.2.8", 2021), ("192.0.2.9", 40000), "ESTABLISHED"),
        Socket(("fe80::1", 2021), ("2001:db8::2", 40001), "FIN_WAIT2"),
    ]


SOLARIS = """\

TCP: IPv4
   Local Address        Remote Address      User      Pid       Command       Swind  Send-Q  Rwind  Recv-Q    State
-------------------- -------------------- -------- -------- -------------- ------- ------ ------- ------ -----------
*.22                 *.*                  root          901 sshd                 0      0 256000      0 LISTEN
192.0.2.8.2021       192.0.2.9.40000      router       4711 router          128000      0 128000      0 ESTABLISHED
192.0.2.8.2021       192.0.2.9.40001      128000      0 128000      0 TIME_WAIT
*.*                  *.*                  root          901 sshd                 0      0 256000      0 IDLE

TCP: IPv6
   Local Address          Remote Address         User  Pid  Command  Swind Send-Q Rwind Recv-Q State If
---------------------- ---------------------- ----- ---- -------- ----- ------ ----- ------ ----- -----
*.22                              *.*                               root   901 sshd         0      0 256000     0 LISTEN
::ffff:192.0.2.8.2021  ::ffff:192.0.2.7.40000 router 4711 router 128000      0 128000     0 ESTABLISHED lo0
"""


def test_netstat_of_solaris_tells_whose_a_socket_is():
    assert parse_netstat_solaris(SOLARIS) == [
        Socket(("0.0.0.0", 22), ("0.0.0.0", 0), "LISTEN", 901),
        Socket(("192.0.2.8", 2021), ("192.0.2.9", 40000), "ESTABLISHED", 4711),
        Socket(("192.0.2.8", 2021), ("192.0.2.9", 40001), "TIME_WAIT"),
        Socket(("::", 22), ("::", 0), "LISTEN", 901),
        Socket(("192.0.2.8", 2021), ("192.0.2.7", 40000), "ESTABLISHED", 4711),
    ]


CUT_OFF = [
    "tcp6       0      0  2001:db8:1:2:3:4:5..   2001:db8::2.40001      ESTABLISHED\n",
    "tcp4       0      0  192.0.2.8.https        192.0.2.9.40000        ESTABLISHED\n",
    "tcp4       0      0  192.0.2.8.443          192.0.2.9.40000        FRIENDLY\n",
]


@pytest.mark.parametrize("line", CUT_OFF)
def test_a_line_that_cannot_be_read_is_never_left_out(line):
    with pytest.raises(ToolUnread, match="netstat says what cannot be read"):
        parse_netstat_aix(line)


def test_addresses_are_those_that_not_every_host_has():
    text = "en0: flags=1<UP>\n\tinet 192.0.2.8 netmask 0xffffff00 broadcast 192.0.2.255\n\tinet6 fe80::1/64\n"
    text += "\tinet6 2001:db8::8/64\nlo0: flags=1<UP>\n\tinet 127.0.0.1 netmask 0xff000000\n\tinet6 ::1%1/128\n"
    assert parse_ifconfig(text) == ["192.0.2.8", "2001:db8::8"]


def test_what_svcprop_escapes_is_read_back():
    assert parse_words('SSL_CERT_FILE=/t.pem OPTIONS=-a\\ -b ""\n') == ["SSL_CERT_FILE=/t.pem", "OPTIONS=-a -b", ""]
    with pytest.raises(ToolUnread, match="svcprop says"):
        parse_words('"open')


def test_a_stanza_of_the_odm_is_read():
    text = '\nSRCsubsys:\n\tsubsysname = "router"\n\tcmdargs = "-c \\"a b\\""\n\tpath = "/opt/x"\n\tuid = 0\n'
    assert parse_stanza(text) == {"subsysname": "router", "cmdargs": '-c "a b"', "path": "/opt/x", "uid": "0"}
    assert parse_stanza("") == {}


def test_tools_are_named_by_their_whole_paths():
    assert {argv[0].rpartition("/")[0] for rows in TOOLS.values() for argv in rows.values()} == {
        "/usr/bin",
        "/usr/sbin",
    }
