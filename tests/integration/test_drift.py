# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was right after our last step and is not any more: verify names it, rollout mends it."""

from __future__ import annotations

import os
import signal
import time
import typing as t

import pytest

from .harness import ENFORCE, HOLDS_A_SESSION, QUICK, SERVERS, Fleet

MINE, OTHER = SERVERS


def flip_a_byte_of_a_key(fleet: Fleet) -> str:
    path = fleet.material(OTHER) / "key.pem"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))
    path.chmod(0o400)
    return "key.pem differs"


def let_everybody_read_a_key(fleet: Fleet) -> str:
    (fleet.material(OTHER) / "key.pem").chmod(0o644)
    return "key.pem is 0644"


def put_another_valid_certificate_in(fleet: Fleet) -> str:
    for name in ("certificate.pem", "fullchain.pem", "key.pem"):
        path = fleet.material(MINE) / name
        mode = path.stat().st_mode & 0o777
        path.chmod(0o600)
        path.write_bytes((fleet.material(OTHER) / name).read_bytes())
        path.chmod(mode)
    return "certificate.pem differs"


def set_a_client_back_to_clear(fleet: Fleet) -> str:
    fleet.edit(HOLDS_A_SESSION, r"^tls = yes", "tls = no", count=1)
    return "tls is 'no'"


def leave_a_process_on_its_old_certificate(fleet: Fleet) -> str:
    """A name is added, a new certificate issued and installed, and the run dies before the reload."""
    file = fleet.inventory / "tls_connections.yml"
    file.write_text(file.read_text() + "\nidentities: {%s: {names: [added.example.net]}}\n" % MINE)
    assert fleet.killed_at("task Do the steps", *ENFORCE).code == -signal.SIGKILL
    return "presents another certificate"


#: All five, in as few runs as tell them apart: a gate that does not hold hides those that follow.
DAMAGES: t.Final = (
    (put_another_valid_certificate_in, let_everybody_read_a_key),
    (set_a_client_back_to_clear,),
    (leave_a_process_on_its_old_certificate, flip_a_byte_of_a_key),
)


@pytest.mark.parametrize("damages", DAMAGES, ids=lambda found: " and ".join(each.__name__ for each in found))
def test_drift_is_named_by_verify_and_mended_by_rollout(enforced: Fleet, damages: tuple[t.Callable[[Fleet], str], ...]):
    words = [damage(enforced) for damage in damages]
    verified = enforced.playbook("verify", *QUICK).must_end(2)
    assert not [each for each in words if each not in verified.last_lines], verified.last_lines
    assert verified.changed == 0
    mended = enforced.playbook("rollout", *ENFORCE).must_end(0)
    assert mended.changed > 0
    again = enforced.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0, again.text[-3000:]
    enforced.playbook("verify", *QUICK).must_end(0)
    enforced.must_talk()


def test_a_fleet_as_it_was_left_verifies_and_every_pair_is_in_the_last_lines(enforced: Fleet):
    run = enforced.playbook("verify", *QUICK).must_end(0)
    assert run.changed == 0
    for name in enforced.stages():
        assert name in run.last_lines


def test_a_process_that_somebody_reloaded_is_no_drift(enforced: Fleet):
    for pid_file in (enforced.root / "hosts").glob("*/*/component.pid"):
        os.kill(int(pid_file.read_text()), signal.SIGHUP)
    time.sleep(0.5)
    run = enforced.playbook("rollout", *ENFORCE).must_end(0)
    assert run.changed == 0, run.text[-3000:]
