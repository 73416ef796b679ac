# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's rollout: real servers on real hosts move from plaintext to TLS under load, wave after wave.

It leaves in `.lab` (or --root FOLDER): `report.json` and `report.html`, `traffic.json` (what every client counted),
`listeners.json` (who listens where, and as which component), `playbooks.log`, and the inventory and the store.
"""

from __future__ import annotations

import argparse
import sys
import typing as t
from pathlib import Path

ROOT: t.Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from lab import LabError, Unfit, driver  # noqa: E402
from lab.centre.centre import Centre, wanted  # noqa: E402
from lab.names import Net  # noqa: E402

UNFIT: t.Final = 3


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
            tell(Centre(lab, given.root.resolve()))
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


def tell(centre: Centre) -> None:
    """Move a centre and say how far it is, and what every client counted."""
    centre.begin()
    print("%d pairs talk in the clear" % len(centre.pairs))
    centre.roll_out(print)
    rows = centre.leave()
    sent, lost = (sum(row[name] for row in rows) for name in ("sent", "lost"))
    print("%d pairs enforced; of %d messages %d were lost" % (len(centre.stages()), sent, lost))
    line = "  %(id)-48s sent %(sent)4d  lost %(lost)d  longest gap %(longest_gap_ms)5d ms"
    print("\n".join(line % row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
