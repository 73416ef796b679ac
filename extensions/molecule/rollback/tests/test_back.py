# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the way back: every listener is in the clear, none speaks TLS, requests are answered, files are as before."""

from __future__ import annotations

import pytest
from connsec_testinfra import Host, plaintext

testinfra_hosts = ["lb1"]


@pytest.mark.parametrize("server", ["api1", "lb1", "web1", "web2"])
def test_every_listener_is_in_the_clear_again(host: Host, server: str) -> None:
    assert plaintext(host, server + ".lab.test", 8080).startswith("HTTP/")
    assert plaintext(host, server + ".lab.test", 8443) == "closed"


@pytest.mark.parametrize(("path", "answers"), [("/", "shop web"), ("/api", "api")])
def test_requests_are_answered_all_the_way_through(host: Host, path: str, answers: str) -> None:
    done = host.run("curl --silent --show-error http://lb1.lab.test:9000%s", path)
    assert done.stdout.startswith(answers), done.stderr


@pytest.mark.parametrize("path", ["/etc/haproxy/haproxy.cfg", "/etc/nginx/conf.d/edge.conf"])
def test_nothing_of_ours_is_left_in_a_configuration(host: Host, path: str) -> None:
    assert host.run("grep -n -e /etc/connsec -e 8443 %s", path).stdout == ""
