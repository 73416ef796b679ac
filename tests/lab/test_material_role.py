# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role material in a play of somebody's own, on real hosts: one batch, a running nginx, and nothing left of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .driver import Lab
from .plays import Plays

#: It takes most of a minute; make soak runs it.
pytestmark = pytest.mark.soak


SEEN = (
    "find /etc/connsec /etc/nginx/conf.d /etc/systemd/system/nginx.service.d ! -name .lock -type f"
    " -exec sha256sum '{}' + 2>/dev/null | sort"
)


def test_a_play_of_ones_own_serves_over_tls_with_it(lab: Lab, tmp_path: Path) -> None:
    plays, given = Plays(lab, tmp_path), {"serving": "web,db", "domain": "lab.test"}
    for name in ("web", "db"):
        lab.ssh(name, "systemctl start nginx")
    plays.four_beats("material", lambda: [lab.ssh(name, SEEN) for name in ("web", "db")], **given)
    assert sorted(path.stem for path in (plays.store / "identities").glob("*.pem")) == ["shop@db", "shop@web"]
    for name in ("web", "db"):
        answer = "curl --silent --cacert /etc/connsec/shop/current/trust.pem https://%s.lab.test:8443/" % name
        assert lab.ssh(name, answer) == "shop"
        assert "SSL_CERT_FILE=/etc/connsec/shop/current/trust.pem" in lab.ssh(
            name, "systemctl show -p Environment nginx"
        )


def test_it_goes_with_everything_that_it_brought(lab: Lab, tmp_path: Path) -> None:
    plays = Plays(lab, tmp_path)
    lab.ssh("web", "rm /etc/nginx/conf.d/shop.conf; systemctl stop nginx")
    plays.play("material_absent", serving="web")
    assert lab.ssh("web", "ls -A /etc/connsec").split() == [".lock"]
    assert lab.ssh("web", "systemctl show -p Environment nginx").strip() == "Environment="
