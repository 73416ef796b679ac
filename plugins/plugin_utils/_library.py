# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keys and certificates are made with, and what is too old or too strict for it; private to this collection."""

from __future__ import annotations

import contextlib
import re
import typing as t

import cryptography

from ..module_utils._core._errors import TlsError

#: CVE-2026-26007, CVE-2026-34073 and CVE-2026-39892 are mended in it.
OLDEST: t.Final = (46, 0, 7)


def refuse_old_library(version: str = cryptography.__version__) -> None:
    """Refuse to work with a cryptography that has known flaws.

    Raises:
        TlsError: the controller's is older than 46.0.7.
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if numbers < OLDEST:
        raise TlsError(
            "the controller's Python has cryptography %s, which has known flaws; install cryptography>=%s there"
            % (version, ".".join(map(str, OLDEST)))
        )


@contextlib.contextmanager
def allowed_by_openssl(what: str) -> t.Iterator[None]:
    """Say in one sentence that the controller's OpenSSL does not do a derivation.

    Args:
        what: the derivation that is tried inside.

    Raises:
        TlsError: OpenSSL refuses it, as in FIPS mode, or was built without it.
    """
    try:
        yield
    except (ValueError, AttributeError) as error:
        raise TlsError(
            "the controller's OpenSSL refuses %s, under which the store encrypts its keys (%s); keep the store on a"
            " controller that is not in FIPS mode" % (what, error)
        ) from error
