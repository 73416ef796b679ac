# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How things of a lab are called, and which hosts, sizes and networks are refused."""

from __future__ import annotations

import pytest
from lab import LabError, machine, network
from lab.names import FIRST, LAST, Net, Wanted, hosts_file, number_hosts, parse_hosts

NET = Net("10.77.0")


@pytest.mark.parametrize("prefix", ["10.77.0", "10.255.255", "192.168.0", "172.31.255"])
def test_names_of_links_have_at_most_15_characters_and_begin_with_the_mark_of_the_lab(prefix: str) -> None:
    net = Net(prefix)
    for number in (FIRST, LAST):
        link = net.host("a" * 32, number).mark
        assert len(link) <= 15
        assert link.startswith(net.mark)
        assert network.is_ours(net, link)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("cslab0a4d00", True),
        ("cslab0a4d00-11", True),
        ("cslab0a4d01", False),
        ("cslab0a4d01-11", False),
        ("cslab0a4d001", False),
        ("eth0", False),
    ],
)
def test_a_link_is_ours_by_the_name_of_this_lab_and_of_no_other(name: str, ours: bool) -> None:
    assert network.is_ours(NET, name) is ours


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("10.77", "is not a network"),
        ("10.77.0.0", "is not a network"),
        ("10.77.256", "is not a network"),
        ("../../etc", "is not a network"),
        ("8.8.8", "is not private"),
        ("127.0.0", "is not private"),
        ("169.254.1", "is not private"),
    ],
)
def test_a_network_that_is_not_three_numbers_of_a_private_one_is_refused(prefix: str, words: str) -> None:
    with pytest.raises(LabError, match=words):
        Net(prefix)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("web1", (Wanted("web1"),)),
        ("web1,db-1=64m", (Wanted("web1"), Wanted("db-1", 64 << 20))),
        ("a=1g, b=512K", (Wanted("a", 1 << 30), Wanted("b", 512 << 10))),
    ],
)
def test_hosts_are_read_with_the_sizes_that_limit_them(text: str, wanted: tuple[Wanted, ...]) -> None:
    assert parse_hosts(text) == wanted


@pytest.mark.parametrize("text", ["web1=", "web1=0m", "web1=64", "web1=1.5g", "web1=-1m"])
def test_a_size_that_is_none_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(LabError, match=r"is not a size; .* such as 64m"):
        parse_hosts(text)


@pytest.mark.parametrize("name", ["", "Web", "1a", "a_b", "a.b", "-a", "a-", "../a", "a" * 33, "a\n"])
def test_a_name_that_could_be_anything_but_a_host_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="is not a host name"):
        number_hosts(NET, [Wanted(name)])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a", "b", "a"], "host a is named twice"),
        ([], "1 to 189 hosts, not 0"),
        (["h%d" % number for number in range(190)], "1 to 189 hosts, not 190"),
    ],
)
def test_hosts_that_do_not_make_a_lab_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(LabError, match=words):
        number_hosts(NET, [Wanted(name) for name in names])


def test_hosts_are_numbered_in_the_order_in_which_they_were_asked_for() -> None:
    hosts = number_hosts(NET, parse_hosts("web,db=1m"))
    assert [(host.name, host.address, host.size) for host in hosts] == [
        ("web", "10.77.0.11", None),
        ("db", "10.77.0.12", 1 << 20),
    ]


def test_every_host_knows_all_others_and_the_controller_by_name() -> None:
    hosts = number_hosts(NET, parse_hosts("web,db"))
    assert hosts_file(hosts, hosts[0]).splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost",
        "10.77.0.1\tcontroller.lab.test\tcontroller",
        "10.77.0.11\tweb.lab.test\tweb",
        "10.77.0.12\tdb.lab.test\tdb",
    ]


@pytest.mark.parametrize(
    ("routes", "taken"),
    [
        ("", None),
        ("[]", None),
        ('[{"dst": "default", "dev": "eth0"}, {"dst": "192.168.1.0/24", "dev": "eth0"}]', None),
        ('[{"dst": "10.0.0.0/8", "dev": "eth0"}]', "10.0.0.0/8 at eth0"),
        ('[{"dst": "10.77.0.0/24", "dev": "cslab0a4d00"}]', "10.77.0.0/24 at cslab0a4d00"),
        ('[{"dst": "10.77.0.9", "dev": "eth1"}]', "10.77.0.9 at eth1"),
    ],
)
def test_a_network_that_the_machine_reaches_already_is_told_of(routes: str, taken: str | None) -> None:
    assert network.taken_by(NET, routes) == taken


@pytest.mark.parametrize(
    ("size", "kind", "memory"),
    [(None, "ext4", None), (None, "tmpfs", None), (64, "ext4", 64), (None, "overlay", 2 << 30), (64, "overlay", 64)],
)
def test_what_is_written_lies_in_memory_where_it_is_limited_or_the_disk_cannot_hold_a_layer(
    size: int | None, kind: str, memory: int | None
) -> None:
    assert machine.layer_size(size, kind) == memory


def test_a_host_boots_in_its_own_namespace_from_its_own_root() -> None:
    host = NET.host("web", 11)
    folder = "/var/lib/connsec-tls-lab/10.77.0/hosts/web"
    options = machine.boot_options(host)
    assert {
        "--network-namespace-path=%s/net" % folder,
        "--directory=%s/root" % folder,
        "--machine=cslab0a4d00-11",
        "--hostname=web",
        "--boot",
    } <= set(options)
    assert machine.mount_command(host, machine.Path("/tree"))[-2:] == [
        "lowerdir=/tree,upperdir=%s/layer/upper,workdir=%s/layer/work" % (folder, folder),
        folder + "/root",
    ]


def test_nothing_is_forwarded_translated_or_bound_to_other_interfaces() -> None:
    host = NET.host("web", 11)
    commands = network.bridge_commands(NET) + network.link_commands(host) + network.inner_commands(host)
    assert [command for command in commands if " route " in command or "default" in command] == []
    assert all("cslab0a4d00" in command for command in network.bridge_commands(NET) + network.link_commands(host))
