# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab can do: come up from the base tree, lose hosts, run commands on them, and go without a trace.

    lab = driver.up(Net("10.77.0"), [Wanted("web1"), Wanted("db1", size=64 << 20)])
    ...                                   # ansible-playbook -i lab.inventory
    driver.down(lab.net)

Within tests, `with driver.lab(...)` removes it however the test ends; and a lab whose process was killed is removed by
the next `up` or `down` of its network.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

from . import LabError, base, fitness, inventory, machine, mounts, network, state
from .names import STATES, Host, Net, Wanted, number_hosts
from .processes import Process, boot_id, end, environment, find, open_to_all, run, this_process

#: Seconds in which every host has to answer over SSH.
ANSWERING: t.Final = 180.0


def quiet(_words: str) -> None:
    """Say nothing about how far it is."""


@dataclass(frozen=True)
class Lab:
    """A lab that is up."""

    net: Net
    hosts: tuple[Host, ...]

    @property
    def inventory(self) -> Path:
        """The inventory file for `ansible-playbook -i`."""
        return inventory.inventory(self.net)

    @property
    def ssh_config(self) -> Path:
        """The file for `ssh -F`, and for pytest-testinfra's `--ssh-config`."""
        return inventory.ssh_config(self.net)

    def host(self, name: str) -> Host:
        """Return a host by its name.

        Raises:
            LabError: there is none of that name.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError("the lab has no host %s; it has %s" % (name, ", ".join(each.name for each in self.hosts)))

    def ssh_command(self, name: str, *words: str) -> list[str]:
        """Return the command that runs words on a host; the host's shell reads them."""
        return ["ssh", "-F", str(self.ssh_config), self.host(name).name, *words]

    def ssh(self, name: str, *words: str, given: str = "", seconds: float = 60.0) -> str:
        """Run a command on a host and return what it wrote.

        Raises:
            LabError: it failed, the host is not reached, or it took more than `seconds`.
        """
        return run(self.ssh_command(name, *words), given=given, seconds=seconds)

    def pause(self, name: str) -> None:
        """Pull a host's cable: it runs on and nobody reaches it."""
        network.connect(self.host(name), on=False)

    def resume(self, name: str) -> None:
        """Plug a host's cable in again."""
        network.connect(self.host(name), on=True)

    def stop(self, name: str, *, gently: bool = True) -> None:
        """Shut a host down, or cut its power; what is on its disk stays."""
        machine.stop([self.host(name)], gently=gently)

    def start(self, name: str) -> None:
        """Boot a host that was stopped, and wait until it answers.

        Raises:
            LabError: it does not.
        """
        host = self.host(name)
        if not machine.supervisors(host):
            machine.boot(host)
        wait_answering([host])


def find_lab(net: Net) -> Lab:
    """Return the lab of a network.

    Raises:
        LabError: there is none that is complete.
    """
    known = state.read(net)
    if known is None or not known.complete:
        raise LabError("no lab is up in %s; `up` makes one" % net.state)
    return Lab(net, known.hosts)


def build(say: base.Say = quiet) -> base.Tree:
    """Return the base tree; make it first, if this recipe's is not in the cache.

    Raises:
        LabError: it cannot be made.
    """
    fitness.check(building=base.find() is None)
    return base.build(say)


def up(net: Net, wanted: t.Sequence[Wanted], *, say: base.Say = quiet, owned: bool = False) -> Lab:
    """Boot hosts and return when all answer over SSH. With `owned`, the lab is abandoned once this process is gone.

    Raises:
        LabError: a lab is up in this network already, or a host does not come; then nothing is left.
    """
    hosts = number_hosts(net, wanted)
    fitness.check()
    tree = base.find() or build(say)
    with open_to_all(), state.locked(net):
        known = state.read(net)
        if known is not None and not known.abandoned:
            raise LabError("a lab is up in %s; `down` removes it, --net gives another a place beside it" % net.state)
        _remove(net, say)
        network.check_free(net)
        owner = this_process() if owned else None
        found = state.State(hosts, complete=False, tree=str(tree.root), boot=boot_id(), owner=owner)
        state.write(net, found)
        try:
            _make(net, hosts, tree, say)
            state.write(net, replace(found, complete=True))
        except BaseException:
            _remove(net, quiet)
            _forget(net)
            raise
    return Lab(net, hosts)


def _make(net: Net, hosts: t.Sequence[Host], tree: base.Tree, say: base.Say) -> None:
    for host in hosts:
        host.folder.mkdir(mode=0o700, parents=True)
    network.make(net, hosts)
    _make_login(net)
    login = inventory.key(net).with_suffix(".pub").read_text(encoding="ascii")
    for host in hosts:
        machine.prepare(host, hosts, tree.root, login=login)
        machine.boot(host)
    known = inventory.known_hosts_text({host: machine.host_key(host) for host in hosts})
    state.replace_file(inventory.known_hosts(net), known)
    state.replace_file(inventory.ssh_config(net), inventory.ssh_config_text(net, hosts))
    state.replace_file(inventory.inventory(net), inventory.inventory_text(net, hosts))
    say("%d hosts boot" % len(hosts))
    wait_answering(hosts)


def _make_login(net: Net) -> None:
    for folder in (inventory.sockets(net), inventory.inventory(net).parent):
        folder.mkdir(mode=0o700, parents=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", net.mark, "-f", str(inventory.key(net))])


def wait_answering(hosts: t.Sequence[Host], seconds: float = ANSWERING) -> None:
    """Wait until the SSH servers of all hosts say who they are.

    Raises:
        LabError: one does not within `seconds`.
    """
    until = time.monotonic() + seconds
    for host in hosts:
        while not _answers(host):
            if time.monotonic() > until:
                raise LabError("host %s does not answer over SSH:\n%s" % (host.name, machine.last_words(host)))
            time.sleep(0.05)


def _answers(host: Host) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host.address, 22), 1.0) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def down(net: Net, *, say: base.Say = quiet) -> None:
    """Remove a lab, or whatever there is of one; nothing of it is left but the base tree.

    Raises:
        LabError: another process works on it, or something of it does not go.
    """
    fitness.check()
    with state.locked(net):
        _remove(net, say)
        _forget(net)


def _remove(net: Net, say: base.Say) -> None:
    """Remove all of a lab but its folder: its processes, mounts, network and files."""
    hosts = _hosts_of(net)
    machine.stop(hosts, gently=False)
    end(_open_connections(net))
    network.remove(net)
    machine.remove_files(net.state / "hosts")
    for folder in (inventory.key(net).parent, inventory.inventory(net).parent):
        mounts.remove_folder(folder)
    if hosts:
        say("%d hosts are gone" % len(hosts))


def _hosts_of(net: Net) -> tuple[Host, ...]:
    known = state.read(net)
    return () if known is None else known.hosts


def _open_connections(net: Net) -> list[Process]:
    """Return the processes of ssh that keep connections open for the next task; their titles have their sockets."""
    begin = "ssh: %s/" % inventory.sockets(net)
    return find(lambda words: words[0].startswith(begin))


def _forget(net: Net) -> None:
    """Remove the folder of a lab, the last thing that tells of it."""
    mounts.remove_folder(net.state)
    with contextlib.suppress(OSError):  # another lab has a folder there
        STATES.rmdir()


@contextlib.contextmanager
def lab(net: Net, wanted: t.Sequence[Wanted]) -> t.Iterator[Lab]:
    """Give a lab that goes when the block ends, or with this process."""
    made = up(net, wanted, owned=True)
    try:
        yield made
    finally:
        down(net)


def labs() -> list[Net]:
    """Return the networks in which there is a lab, or what is left of one."""
    found = []
    for entry in sorted(STATES.glob("*")):
        with contextlib.suppress(LabError):
            found.append(Net(entry.name))
    return found


def open_shell(net: Net, name: str, words: t.Sequence[str]) -> t.NoReturn:
    """Become ssh to a host.

    Raises:
        LabError: there is no such host.
    """
    argv = find_lab(net).ssh_command(name, *words)
    os.execvpe(argv[0], argv, environment())


def is_running(host: Host) -> bool:
    """Return whether a host runs."""
    return bool(machine.supervisors(host))
