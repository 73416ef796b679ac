# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do about the hard demo between its runs, and what befalls it: the collection has no hand in any of it."""

from __future__ import annotations

import configparser
import shutil
import threading
import time
import typing as t
from pathlib import Path

import fleet
from parts import FleetError, processes
from parts.records import replace_file
from parts.settings import STANDBY
from parts.traffic import account

#: The two of the HA pair, as the balancer knows them: the one that it uses, and the other.
ACTIVE: t.Final = "confserv@cfg1"
OTHER: t.Final = "confserv@cfg2"
#: A server, and the standby that takes over from it.
SERVER: t.Final = "queue@sip1"
STANDING_BY: t.Final = "queue_standby@web1"

_PATIENCE: t.Final = 20.0
#: Seconds for which a killed program is away, until its service manager starts it anew.
_AWAY: t.Final = 1.0


def security_of(place: fleet.Place) -> dict[str, tuple[str, int]]:
    """Return what the newest session of each pair was, as its server saw it, and how many messages were answered."""
    found = place.fleet()
    rows = account(found, place.rows(found), alive=True)["connections"]
    return {row["id"]: (row["security"], row["answered"]) for row in rows}


def wait(until: t.Callable[[], t.Any], words: str) -> None:
    """Wait until something holds.

    Raises:
        FleetError: it does not come about.
    """
    end = time.monotonic() + _PATIENCE
    while not until():
        if time.monotonic() > end:
            raise FleetError("%s; that took longer than %g s" % (words, _PATIENCE))
        time.sleep(0.05)


def switch_partner(place: fleet.Place) -> str:
    """Have the partner's people set their program to TLS, with their own certificate and our CA list."""
    folder = place.folder("partner@partner")
    shutil.copyfile(_our_list(place), folder / "from-example-bank.pem")
    switched = {
        **{"port": "15071", "tls": "yes", "trust": "from-example-bank.pem"},
        **{"certificate": fleet.OWN_CERTIFICATE, "key": fleet.OWN_KEY},
    }
    _edit(folder, {"peer.gateway.sip1": switched})
    _wait_for(place, {"partner@partner->gateway.trunk@sip1": "mutual"})
    return "the partner's people switch their program to TLS"


def switch_monitors(place: fleet.Place) -> str:
    """Have the network team move the balancer's health monitors to the secure port."""
    folder = place.folder("balancer@balancer")
    shutil.copyfile(_our_list(place), folder / "trust.pem")
    sections = ["peer.%s" % each.replace("@", ".") for each in (ACTIVE, OTHER)]
    _edit(folder, {key: {"port": "12021", "tls": "yes", "trust": "trust.pem"} for key in sections})
    _wait_for(place, {"balancer@balancer->confserv.default@%s" % host: "tls" for host in ("cfg1", "cfg2")})
    _name_drill(place, "CHG-4711: the monitors use the secure port, says N. Admin of the network team")
    return "the network team moves the balancer's health monitors to the secure port, and somebody notes who said so"


def _name_drill(place: fleet.Place, words: str) -> None:
    """Have the inventory say who moved the monitors: their address is that of all whom the balancer passes on.

    Raises:
        FleetError: the inventory has no such entry.
    """
    model = Path(place.marker["inventory"]) / "tls_connections.yml"
    text = model.read_text(encoding="utf-8")
    entry = "  - {client: balancer, server: confserv.default}\n"
    if entry not in text:
        raise FleetError("%s has no entry %s" % (model, entry.strip(" -\n")))
    named = '  - {client: balancer, server: confserv.default, drill: "%s"}\n' % words
    replace_file(model, text.replace(entry, named))


def answer_requests(place: fleet.Place) -> str:
    """Have the company's PKI team sign whatever was requested, with openssl, and somebody bring the answers back.

    Raises:
        FleetError: nothing was requested.
    """
    requests = sorted((place.root / "store").glob("requests/*/request.pem"))
    if not requests:
        raise FleetError("nothing was requested: %s is empty" % (place.root / "store" / "requests"))
    for request in requests:
        place.team("company").sign(request, request.with_name("answer.pem"))
    return "the PKI team signs what was requested, and the answer is brought back"


def take_over(place: fleet.Place) -> str:
    """Fail over to the standby on purpose: its server ends, the standby is promoted, and the server comes back."""
    folder = place.folder(SERVER)
    processes.ask_to_end(folder)
    processes.wait_ended(folder)
    replace_file(place.folder(STANDING_BY) / fleet.ROLE, "active\n")
    processes.reload(place.folder(STANDING_BY))
    pair = next(pair.id for pair in place.fleet().pairs if pair.server.name == STANDING_BY)
    try:
        wait(lambda: security_of(place)[pair][1] > 3, "the standby takes over")
    finally:
        processes.start(folder)
        processes.wait_started(folder)
    return "the queue's server fails over to its standby, and comes back"


def kill_the_active(place: fleet.Place) -> str:
    """Kill the active one of the HA pair; the balancer goes to the other, and a service manager starts it anew."""
    folder = place.folder(ACTIVE)
    processes.kill(folder)
    time.sleep(_AWAY)
    processes.wait_ended(folder)
    processes.start(folder)
    processes.wait_started(folder)
    return "%s was killed; the balancer went to %s" % (ACTIVE, OTHER)


class Meanwhile:
    """Something that happens while a playbook runs, once, and in a thread of its own."""

    def __init__(self, act: t.Callable[[], str]) -> None:
        self._act = act
        self._words: list[str] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._begun = False

    def begin(self) -> None:
        """Let it happen, unless it has begun already."""
        if not self._begun:
            self._begun = True
            self._thread.start()

    def ended(self) -> str:
        """Wait for its end, and return what happened.

        Raises:
            FleetError: it did not come about.
        """
        if not self._begun:
            raise FleetError("the run was over before anything could happen in the middle of it")
        self._thread.join()
        if self._error is not None:
            raise FleetError(str(self._error)) from self._error
        return self._words[0]

    def _run(self) -> None:
        try:
            self._words.append(self._act())
        except (FleetError, OSError) as error:
            self._error = error


def is_standby(place: fleet.Place) -> bool:
    """Return whether the standby still refuses everybody."""
    return (place.folder(STANDING_BY) / fleet.ROLE).read_text(encoding="ascii").strip() == STANDBY


def _our_list(place: fleet.Place) -> Path:
    """Return the CA list of ours, as we hand it to others."""
    return place.root / "hosts" / "app2" / "connsec" / "desk" / "current" / "trust.pem"


def _edit(folder: Path, sections: t.Mapping[str, t.Mapping[str, str]]) -> None:
    """Edit the options of a program that is not ours, and have it read them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(folder / "options.ini", encoding="utf-8")
    for section, values in sections.items():
        parser[section].update(values)
    with (folder / "options.ini").open("w", encoding="utf-8") as file:
        parser.write(file)
    processes.reload(folder)


def _wait_for(place: fleet.Place, expected: t.Mapping[str, str]) -> None:
    words = "%s over TLS" % " and ".join(expected)
    wait(lambda: all(security_of(place)[pair][0] == security for pair, security in expected.items()), words)
