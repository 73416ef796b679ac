# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux's labels of what this collection makes: those that the system's policy has; private to this collection.

The kernel labels a new file like its folder, which is not always what the policy says of its path: where a folder of
ours lies elsewhere than below /etc, somebody gives it a type with ``semanage fcontext``. ``restorecon`` knows.
"""

from __future__ import annotations

import os
import shutil

from ._program import run

#: Where restorecon lies, if not on our path.
_SBIN = ("/usr/sbin", "/sbin")


def restore(path: str, *, below: bool = False) -> None:
    """Give a path the label that the policy has for it, and perhaps all that lies in it.

    A system without restorecon has no policy for paths, and the kernel's label stays.

    Raises:
        ProgramError: it does not succeed.
    """
    program = shutil.which("restorecon", path=os.pathsep.join([os.environ.get("PATH", ""), *_SBIN]))
    if program is not None:
        run([program, *(["-R"] if below else []), "--", path], what="setting the SELinux label of %s" % path)
