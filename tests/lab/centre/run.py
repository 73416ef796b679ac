# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's rollout: real servers on real hosts move from plaintext to TLS under load, wave after wave.

It leaves in `.lab` (or --root FOLDER): `report.json` and `report.html`, `traffic.json` (what every client counted),
`listeners.json` (who listens where, and as which component), `playbooks.log`, and the inventory and the store.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import typing as t
from pathlib import Path

ROOT: t.Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from lab import LabError, Unfit, driver  # noqa: E402
from lab.centre.centre import Centre, listeners, model, traffic_of, wanted  # noqa: E402
from lab.names import Net  # noqa: E402

UNFIT: t.Final = 3


def waves() -> list[int]:
    """Return the waves."""
    return sorted({int(row.get("wave", 1)) for row in model()["connections"]})


def roll_out(centre: Centre, say: t.Callable[[str], None] = print) -> None:
    """Take a centre that talks in the clear to where every pair is enforced.

    Raises:
        LabError: a run fails, or a pair is not enforced at the end.
    """
    for wave in waves():
        began = time.monotonic()
        done = centre.playbook("rollout", "-e", "tls_until=enforced")
        if done.returncode:
            raise LabError("the rollout of wave %d ended with %d:\n%s" % (wave, done.returncode, done.stdout[-4000:]))
        say("wave %d: %.0f s" % (wave, time.monotonic() - began))
    left = {name: row for name, row in centre.stages().items() if row != ("enforced", "done")}
    if left:
        raise LabError("these are not enforced: %s" % left)


def leave(centre: Centre) -> dict[str, t.Any]:
    """Write what the run leaves for others to judge, and return the traffic."""
    traffic = traffic_of(centre)
    (centre.folder / "traffic.json").write_text(json.dumps(traffic, indent=1, sort_keys=True) + "\n")
    (centre.folder / "listeners.json").write_text(json.dumps(listeners(centre), indent=1, sort_keys=True) + "\n")
    return traffic


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Boot the hosts, start the centre, roll out, tell what became of it, and remove the hosts."""
    parser = argparse.ArgumentParser(description="Roll TLS out on the lab's hosts, under load.")
    parser.add_argument("--net", default="10.77.0", type=Net, help="the lab's network (10.77.0)")
    parser.add_argument("--root", default=ROOT / ".lab", type=Path, help="where to leave what it leaves (.lab)")
    parser.add_argument("--keep", action="store_true", help="leave the hosts up")
    given = parser.parse_args(arguments)
    try:
        driver.build(print)
        lab = driver.up(given.net, wanted(), say=print, owned=not given.keep)
        try:
            centre = Centre(lab, given.root)
            centre.start()
            print("%d pairs talk in the clear" % len(centre.pairs()))
            roll_out(centre)
            rows = leave(centre)["connections"]
            lost = sum(row["lost"] for row in rows)
            print("%d pairs enforced; of %d messages %d were lost" % (
                len(centre.stages()), sum(row["sent"] for row in rows), lost,
            ))  # fmt: skip
            for row in rows:
                print("  %-48s sent %4d  lost %d  longest gap %5d ms" % (
                    row["id"], row["sent"], row["lost"], row["longest_gap_ms"],
                ))  # fmt: skip
        finally:
            if not given.keep:
                driver.down(given.net)
    except Unfit as error:
        print("THE LAB IS LEFT OUT: %s" % error)
        return UNFIT
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
