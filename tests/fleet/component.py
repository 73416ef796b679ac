# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A component of the demo fleet: `component.py OPTIONS.ini` runs it, with `--check` it only tests its options.

SIGHUP makes it read its options anew without an interruption; options that cannot be used change nothing. SIGTERM
ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from parts.security import client_context, server_context
from parts.settings import Settings, SettingsError, read_settings


def check(path: Path) -> Settings:
    """Return settings that can be used, files included.

    Raises:
        SettingsError: they cannot.
    """
    settings = read_settings(path)
    for listener in settings.listeners.values():
        if listener.speaks_tls:
            server_context(listener)
    for peer in settings.peers.values():
        if peer.tls:
            client_context(peer)
    return settings


def run(path: Path, settings: Settings) -> None:
    """Serve and dial until SIGTERM."""
    # what a test of the options does not need takes longer to import than the test takes
    import asyncio

    from parts.running import Component

    asyncio.run(Component(path, settings).run())


def main(arguments: list[str]) -> int:
    """Run a component or test its options."""
    only_check, paths = "--check" in arguments, [Path(each) for each in arguments if each != "--check"]
    if len(paths) != 1:
        print("usage: component.py [--check] OPTIONS.ini", file=sys.stderr)
        return 2
    try:
        settings = check(paths[0])
        if not only_check:
            run(paths[0], settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
