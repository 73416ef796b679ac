# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection that can go from the clear to TLS.

asyncio can do that too, but throws away the alert with which a handshake fails (`_SSLProtocol._fatal_error`, 3.11 to
3.13), and real servers tell their clients why they turn them away.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import typing as t

_CHUNK: t.Final = 65536


class Wire(asyncio.Protocol):
    """A connection; subclasses say what happens when it opens, is secured, brings data, fails and ends."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._shaking = False
        self._deadline: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ what subclasses say

    def opened(self) -> None:
        """The connection stands."""

    def secured(self) -> None:
        """The handshake is done."""

    def received(self, data: bytes) -> None:
        """Data came."""

    def failed(self, error: Exception) -> None:
        """The handshake, or a record after it, is not acceptable; the connection is being closed."""

    def ended(self, error: Exception | None) -> None:
        """The connection is gone."""

    # ------------------------------------------------------------ what they call

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_tls(self) -> bool:
        """Whether a handshake was done."""
        return self._tls is not None and not self._shaking

    @property
    def shows_certificate(self) -> bool:
        """Whether the other end presented a certificate that was verified."""
        return self.is_tls and self._tls is not None and bool(self._tls.getpeercert())

    def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, name: str | None = None, seconds: float = 5.0
    ) -> None:
        """Begin a handshake, which has some seconds to be done."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=name)
        self._shaking = True
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._give_up)
        self._pump()

    def send(self, data: bytes) -> None:
        """Send data."""
        if self.is_open and self._transport is not None:
            if self._tls is None:
                self._transport.write(data)
            else:
                self._tls.write(data)
                self._flush()

    def close(self) -> None:
        """End the connection, saying so."""
        if self.is_open and self._transport is not None:
            if self._tls is not None and not self._shaking:
                with contextlib.suppress(ssl.SSLError):  # the other end need not say goodbye
                    self._tls.unwrap()
                self._flush()
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = t.cast("asyncio.Transport", transport)
        self.opened()

    def data_received(self, data: bytes) -> None:
        """Hand data on, decrypted."""
        if self._tls is None:
            self.received(data)
        else:
            self._incoming.write(data)
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        self.ended(exc)

    # ------------------------------------------------------------ TLS

    def _pump(self) -> None:
        try:
            if self._shaking and self._tls is not None:
                self._tls.do_handshake()
                self._shaking = False
                if self._deadline is not None:
                    self._deadline.cancel()
                self._flush()
                self.secured()
            self._read()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLZeroReturnError:
            self.close()
        except ssl.SSLError as error:
            self._flush()  # the alert
            self.failed(error)
            if self._transport is not None:
                self._transport.close()

    def _read(self) -> None:
        while self._tls is not None and self.is_open:
            data = self._tls.read(_CHUNK)
            if not data:
                self.close()
                return
            self.received(data)

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self.is_open and self._transport is not None:
            self._transport.write(data)

    def _give_up(self) -> None:
        self.failed(TimeoutError("the handshake takes too long"))
        self.abort()
