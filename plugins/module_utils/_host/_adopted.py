# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate that was on the host before we came, and is adopted as it is; private to this collection."""

from __future__ import annotations

import base64
import os
import re
import time
import typing as t

from ._der import read_certificate
from ._reading import FilesError, FileUnreadable, read_text

_CERTIFICATE: t.Final = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def adopted(files: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return what the first certificate of a file says, and whether it is valid by this host's clock.

    Args:
        files: the paths of ``certificate`` and of everything else that has to be there beside it.

    Raises:
        FilesError: one of them is not there, or the first holds no certificate in PEM.
    """
    path = files["certificate"]
    try:
        text = read_text(path)
    except FileUnreadable as error:
        raise FilesError(str(error)) from error
    if text is None:
        raise FilesError("%s is not there" % path)
    found = _CERTIFICATE.search(text)
    if found is None:
        raise FilesError("%s holds no certificate in PEM" % path)
    for name, other in sorted(files.items()):
        if not os.path.exists(other):
            raise FilesError("%s, its %s, is not there" % (other, name.replace("_", " ")))
    read = read_certificate(base64.b64decode("".join(found.group(1).split())))
    now = time.time()
    return {
        **vars(read),
        "names": list(read.names),
        "valid": read.not_before <= now <= read.not_after,
    }
