# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which operating system this host runs, in the words of the model; private to this collection."""

from __future__ import annotations

import os
import typing as t

_NAMES: t.Final = {"AIX": "aix", "SunOS": "solaris"}

#: Whatever else there is shows its processes as Linux does, or says that it cannot.
SYSTEM: t.Final = _NAMES.get(os.uname().sysname, "linux")
IS_LINUX: t.Final = SYSTEM == "linux"
