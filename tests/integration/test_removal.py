# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A component and a host that leave the model leave their hosts, once nothing uses what they hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from .harness import ENFORCE, Fleet


def take_out(data: dict[str, t.Any]) -> None:
    data["components"]["confserv"]["hosts"] = ["cfg1"]
    del data["components"]["desk"], data["hosts"]["cfg2"]
    data["connections"] = [row for row in data["connections"] if row["client"] != "desk"]


def end(folder: Path) -> None:
    """End a component and take its configuration away, as whoever decommissions it does."""
    pid = int((folder / "component.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while Path("/proc/%d/fd/0" % pid).exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    (folder / "options.ini").unlink()


def serials_on_lists(fleet: Fleet) -> str:
    path = next((fleet.store / "authorities/connsec").glob("issuing-*.crl.pem"))
    argv = ["openssl", "crl", "-in", str(path), "-noout", "-text"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.lower()


def test_what_left_the_model_leaves_its_hosts_once_nothing_uses_it(enforced: Fleet):
    hosts = enforced.root / "hosts"
    gone = {"desk@app1": hosts / "app1/connsec/desk", "confserv@cfg2": hosts / "cfg2/connsec/confserv"}
    manifest = json.loads((gone["confserv@cfg2"] / "current/manifest.json").read_text())
    enforced.edit_yaml("tls_connections.yml", take_out)

    used = enforced.playbook("rollout", *ENFORCE).must_end(0)
    for name, folder in gone.items():
        component, _at, host = name.partition("@")
        assert "not removed: %s: %s names it" % (name, hosts / host / component / "options.ini") in used.text
        assert "WAITING %s" % name in used.last_lines
        assert folder.is_dir()

    end(hosts / "app1/desk")
    end(hosts / "cfg2/confserv")
    checked = enforced.playbook("rollout", *ENFORCE, "-e", "tls_revoke_removed=true", "--check", "--diff").must_end(0)
    assert "remove: desk@app1: material, what a step kept, because desk is not in the model" in checked.text
    assert "because confserv is not on cfg2 any more" in checked.text
    assert all(folder.is_dir() for folder in gone.values())

    done = enforced.playbook("rollout", *ENFORCE, "-e", "tls_revoke_removed=true").must_end(0)
    assert "authority connsec issuing CRL, because confserv@cfg2 is revoked" in done.text
    assert not any(folder.exists() for folder in gone.values())
    assert manifest["identities"][""]["serial"] in serials_on_lists(enforced)
    assert set(enforced.stages().values()) == {("enforced", "done")}
    ledger = json.loads((enforced.store / "ledger/connections.json").read_text())["pairs"]
    assert {row["status"] for name, row in ledger.items() if name not in enforced.stages()} == {"removed"}

    again = enforced.playbook("rollout", *ENFORCE).must_end(0)
    assert again.changed == 0 and "cfg2" not in again.data["stats"], "nobody looks at a host that holds nothing"

    forgetting = enforced.playbook("rollout", *ENFORCE, "-e", "tls_keep_steps=0").must_end(0)
    assert "forget: what steps of router@app1 kept: connect-confserv.default" in forgetting.text
    assert not list((hosts / "app1/connsec/router/steps").iterdir())
    assert enforced.playbook("rollout", *ENFORCE, "-e", "tls_keep_steps=0").must_end(0).changed == 0
