# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One batch of requests for others, and of their answers, under the caller's locks; private to this collection.

The order is the safety: a key is on the disk before its request is shown, and an answer is in the store, whole, before
its request and itself go.
"""

from __future__ import annotations

import os
import typing as t

from ..module_utils._core._material import WantedIdentity, identity_target
from . import _pki
from ._csr import Request
from ._folder import Batch, Folder
from ._found import identity_file
from ._requests import SUFFIX, KeptRequest, close, keep, key_of, make_request, request_of_host, show
from ._secrets import FILE as SECRET_FILE
from ._transaction import Opened
from ._view import Asked, StoreView


class Asking:
    """What a run asks of others, and takes from them."""

    def __init__(
        self,
        requests: str,
        identity_folder: Folder,
        opened: Opened | None,
        asked: t.Mapping[str, Asked],
        *,
        born: t.Mapping[str, Request],
        now: int,
    ) -> None:
        """Take in what there is.

        Args:
            requests: the folder where others find what they are asked for.
            identity_folder: of the store.
            opened: its secret, where a key of it is made or taken.
            asked: what was asked and answered, by identity.
            born: the requests of hosts, of identities whose keys are born there.
            now: seconds since 1970.
        """
        self._requests = requests
        self._born = born
        self._folder = identity_folder
        self._opened = opened
        self._asked = asked
        self._now = now

    def run(self, identities: t.Sequence[WantedIdentity], view: StoreView) -> list[WantedIdentity]:
        """Ask for what is to be asked for and take the answers that are good; return the identities of these."""
        if not self._asked:
            return []
        asking, taking = view.acts("ask"), view.acts("take")
        batch = Batch()
        self._add_secret(batch)
        to_ask = [each for each in identities if identity_target(each.name) in asking]
        made = {each.name: self._make(each) for each in to_ask}
        for name, kept in made.items():
            keep(kept, name, self._folder, batch)
        taken = [each for each in identities if identity_target(each.name) in taking]
        for wanted in taken:
            batch.add(self._folder, identity_file(wanted.name), self._bundle(wanted.name))
        batch.publish()
        for wanted in taken:
            close(wanted.name, self._folder, self._requests)
        self._show(made, view)
        return taken

    def _add_secret(self, batch: Batch) -> None:
        if self._opened is not None and self._opened.new is not None and self._folder.read(SECRET_FILE) is None:
            batch.add(self._folder, SECRET_FILE, self._opened.new.result())

    def _make(self, wanted: WantedIdentity) -> KeptRequest:
        """Return a request: with the key of the open one where that one is not answered and of the planned type."""
        kept = self._asked[wanted.name].request
        if wanted.key_at == "host":
            request = self._born[wanted.name]
            if kept is None or kept.open.spki_sha256 != request.spki_sha256:
                close(wanted.name, self._folder, self._requests)
            return request_of_host(wanted, request, now=self._now)
        secret = t.cast("Opened", self._opened).secret
        if kept and kept.key and kept.open.key_type == wanted.key_type and not self._is_used(wanted.name, kept):
            key = key_of(kept, secret=secret, where=os.path.join(self._folder.path, wanted.name + SUFFIX))
        else:
            close(wanted.name, self._folder, self._requests)
            key = _pki.KEY_TYPES[wanted.key_type]()
        return make_request(wanted, key, secret=secret, now=self._now)

    def _is_used(self, name: str, kept: KeptRequest) -> bool:
        """Return whether the identity has a certificate for the key of this request."""
        text = self._folder.read(identity_file(name))
        if text is None:
            return False
        bundle = _pki.parse_bundle(text, where=os.path.join(self._folder.path, identity_file(name)), least=1)
        leaf = _pki.load_certificate(bundle.certificates[0], where=self._folder.path)
        return _pki.sha256(_pki.spki(leaf)) == kept.open.spki_sha256

    def _bundle(self, name: str) -> bytes:
        """Return the file of an identity whose answer is taken."""
        asked = self._asked[name]
        answer, request = asked.answer, asked.request
        chain = answer.chain if answer else ()
        key = request.key if request else None
        return _pki.Bundle(tuple(_pki.certificate_pem(each) for each in chain), key).to_bytes()

    def _show(self, made: t.Mapping[str, KeptRequest], view: StoreView) -> None:
        """Put every request that is open where the PKI team finds it, also one that somebody took away."""
        for name in self._asked:
            kept = made.get(name) or self._asked[name].request
            if kept is not None and name in view.awaited:
                show(kept, name, self._requests)
