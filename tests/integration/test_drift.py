# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was right after our last step and is not any more: verify names it, rollout mends it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from .harness import ENFORCE, QUICK, Fleet


def current(fleet: Fleet, instance: str) -> Path:
    component, host = instance.split("@")
    return fleet.root / "hosts" / host / "connsec" / component / "current"


def a_server(fleet: Fleet) -> str:
    return str(fleet.report()["connections"][0]["server"])


def a_client(fleet: Fleet) -> dict:
    return dict(fleet.report()["connections"][0])


def flip_a_byte(fleet: Fleet) -> str:
    path = current(fleet, a_server(fleet)) / "key.pem"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))
    path.chmod(0o400)
    return "key.pem differs"


def open_the_key(fleet: Fleet) -> str:
    (current(fleet, a_server(fleet)) / "key.pem").chmod(0o644)
    return "key.pem is 0644"


def put_another_certificate_in(fleet: Fleet) -> str:
    rows = fleet.report()["connections"]
    mine = a_server(fleet)
    other = next(row["server"] for row in rows if row["server"] != mine)
    for name in ("certificate.pem", "fullchain.pem", "key.pem"):
        path = current(fleet, mine) / name
        mode = path.stat().st_mode & 0o777
        path.chmod(0o600)
        path.write_bytes((current(fleet, other) / name).read_bytes())
        path.chmod(mode)
    return "differs"


def set_a_client_back(fleet: Fleet) -> str:
    row = a_client(fleet)
    component, host = row["client"].split("@")
    for path in (fleet.root / "hosts" / host / component).glob("*.ini"):
        text = path.read_text()
        path.write_text(re.sub(r"^tls *= *yes", "tls = no", text, count=1, flags=re.M))
    return "tls is"


def leave_a_process_on_its_old_certificate(fleet: Fleet) -> str:
    """Install a new generation without the reload: what a run that died in between leaves behind."""
    instance = a_server(fleet)
    component, host = instance.split("@")
    run = fleet.playbook("rollout", *ENFORCE, "-e", "tls_until=presented")
    assert run.code == 0
    generation = current(fleet, instance)
    number = int(os.readlink(generation).rpartition("/")[2])
    copy = generation.parent / "generations" / ("%06d" % (number + 1))
    os.system("cp -a %s %s" % (generation.resolve(), copy))  # noqa: S605
    return ""


DRIFT = [flip_a_byte, open_the_key, put_another_certificate_in, set_a_client_back]


@pytest.mark.parametrize("damage", DRIFT, ids=lambda function: function.__name__)
def test_drift_is_named_by_verify_and_mended_by_rollout(enforced: Fleet, damage):
    words = damage(enforced)
    verified = enforced.playbook("verify", *QUICK)
    assert verified.code == 2, verified.text[-3000:]
    assert words in verified.text
    assert verified.changed == 0
    mended = enforced.playbook("rollout", *ENFORCE)
    assert mended.code == 0, mended.text[-4000:]
    assert mended.changed > 0
    again = enforced.playbook("rollout", *ENFORCE)
    assert (again.code, again.changed) == (0, 0), again.text[-3000:]
    enforced.assert_everybody_talks()


def test_a_process_on_its_old_certificate_is_named_and_loaded(enforced: Fleet):
    """A new certificate is issued because a name was added; the run is kept from its reload, as if it had died there."""
    file = enforced.inventory / "tls_connections.yml"
    instance = a_server(enforced)
    serial = next(row["serial"] for row in enforced.report()["identities"] if row["name"] == instance)
    text = file.read_text()
    file.write_text(text + "identities: {%s: {names: [added.example.net]}}\n" % instance)
    killed = enforced.playbook("rollout", *ENFORCE, CONNSEC_RUN_FAULT="round.open.before")
    assert killed.code != 0
    verified = enforced.playbook("verify", *QUICK)
    assert verified.code == 2, verified.text[-3000:]
    assert "still presents another certificate" in verified.text or "has not loaded" in verified.text
    mended = enforced.playbook("rollout", *ENFORCE)
    assert mended.code == 0, mended.text[-4000:]
    again = enforced.playbook("rollout", *ENFORCE)
    assert (again.code, again.changed) == (0, 0), again.text[-3000:]
    assert serial != next(row["serial"] for row in enforced.report()["identities"] if row["name"] == instance)
    enforced.assert_everybody_talks()


def test_a_restarted_process_counts_as_loaded(enforced: Fleet):
    for pid_file in (enforced.root / "hosts").glob("*/*/*.pid"):
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGHUP)
    time.sleep(0.5)
    run = enforced.playbook("rollout", *ENFORCE)
    assert (run.code, run.changed) == (0, 0), run.text[-3000:]
