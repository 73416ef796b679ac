# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a tool of a twin: SYSTEM FOLDER PATH, and what it was called with."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unix.tools import aix, solaris
from unix.tools.host import Failed, Host, Usage


def main() -> int:
    """Do it, and end as the tool would."""
    system, folder, path, *arguments = sys.argv[1:]
    host = Host(Path(folder))
    host.note(path, arguments)
    try:
        sys.stdout.write({"aix": aix, "solaris": solaris}[system].TOOLS[path](host, arguments))
    except Failed as error:
        sys.stdout.write("".join(error.args[1:]))
        print(error, file=sys.stderr)
        return 1
    except Usage as error:
        with (host.folder / "refused").open("a") as file:
            file.write("%s %s: %s\n" % (path, " ".join(arguments), error))
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
