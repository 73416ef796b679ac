# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something in between that is not ours and ends TLS: clients verify it, and it goes on by a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import threading
import typing as t
from pathlib import Path

from .harness import ENFORCE, HOLDS_A_SESSION, SERVERS, Fleet
from .test_ends import CLEAR_PORT, SECURE_PORT, must_come, self_signed

FRONT: t.Final = "router@app1->accelerator.confserv.default@accelerator"
ONWARD: t.Final = tuple("accelerator@accelerator->confserv.default@" + each.partition("@")[2] for each in SERVERS)


class Accelerator:
    """An appliance that takes clients over TLS or in the clear, and goes on to the members as its owner has it."""

    def __init__(self, fleet: Fleet, folder: Path, address: str) -> None:
        self.address = address
        self.certificate, self._key = self_signed(folder, "accelerator", address)
        self._members = [fleet.address(name) for name in SERVERS]
        self.turn = 0
        self._onward: ssl.SSLContext | None = None
        self._open: dict[int, asyncio.Server] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Accelerator:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        for port in list(self._open):
            self.closes(port)
        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def takes(self, port: int, *, tls: bool) -> None:
        """Listen on a port."""
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self._key)
        self._open[port] = self._do(asyncio.start_server(self._serve, self.address, port, ssl=context))

    def closes(self, port: int) -> None:
        """Close a port, and every session that there is."""

        async def close() -> None:
            self._open.pop(port).close()
            for writer in self._writers:
                writer.close()

        self._do(close())

    def goes_on_over_tls(self) -> None:
        """Speak TLS to the members from now on, in sessions that begin anew, and keep one to each as a health check."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        async def begin() -> None:
            self._onward = context
            for writer in self._writers:
                writer.close()
            for member in self._members:
                self._writers.add((await self._dial(member))[1])

        self._do(begin())

    def _do(self, work: t.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _dial(self, member: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = SECURE_PORT if self._onward else CLEAR_PORT
        return await asyncio.open_connection(member, port, ssl=self._onward, local_addr=(self.address, 0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.turn += 1
        self._writers.add(writer)  # whoever closes all sessions means one as well that is still being passed on
        with contextlib.suppress(OSError):
            server = await self._dial(self._members[self.turn % len(self._members)])
            self._writers.add(server[1])
            await asyncio.gather(_pump(reader, server[1]), _pump(server[0], writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def dialled_through(fleet: Fleet, accelerator: Accelerator) -> None:
    """Have the router dial the accelerator instead of either member."""
    lists = fleet.root / "pki"
    lists.mkdir()
    (lists / "accelerator.pem").write_text(accelerator.certificate.read_text())

    def model(data: dict[str, t.Any]) -> None:
        about = {"addresses": [accelerator.address], "owner": "Network team", "trust_file": "../pki/accelerator.pem"}
        data["components"]["accelerator"] = {"kind": "appliance", "managed": False, **about}
        router = next(each for each in data["connections"] if each["client"] == "router")
        router.update(dial=accelerator.address, through=[{"component": "accelerator", "does": "terminate"}])
        data["connections"].append({"client": "accelerator", "server": "confserv.default"})

    def settings(data: dict[str, t.Any]) -> None:
        """The client's options name the server that it dials, of which there is one now."""
        text = data["tls_settings"]["router"]
        for stage in ("connect", "verify"):
            text[stage] = [{**option, "section": "peer.confserv.cfg1"} for option in text[stage]]

    fleet.edit_yaml("tls_connections.yml", model)
    fleet.edit_yaml("group_vars/all.yml", settings)
    fleet.edit(HOLDS_A_SESSION, r"^address = %s$" % fleet.address(SERVERS[0]), "address = " + accelerator.address)
    fleet.edit(HOLDS_A_SESSION, r"^\[peer\.confserv\.cfg2\]\n(.+\n)+", "")
    os.kill(int((fleet.folder(HOLDS_A_SESSION) / "component.pid").read_text()), signal.SIGHUP)


def test_what_ends_tls_is_verified_by_its_clients_and_moves_to_tls_itself(clear: Fleet, tmp_path: Path):
    with Accelerator(clear, tmp_path, clear.net.rpartition(".")[0] + ".95.1") as accelerator:
        accelerator.takes(CLEAR_PORT, tls=False)
        dialled_through(clear, accelerator)
        run = clear.playbook("rollout", *ENFORCE).must_end(0)
        stages = clear.stages()
        assert stages[FRONT] == ("presented", "waiting"), stages
        assert {stages[name] for name in ONWARD} == {("permissive", "waiting")}, stages
        assert "Network team" in run.last_lines
        assert accelerator.certificate.read_text() in (clear.material(HOLDS_A_SESSION) / "trust.pem").read_text()

        accelerator.takes(SECURE_PORT, tls=True)
        run = clear.playbook("rollout", *ENFORCE).must_end(0)
        stages = clear.stages()
        assert stages[FRONT] == ("switched", "waiting"), stages
        assert {stages[name] for name in ONWARD} == {("permissive", "waiting")}, stages

        # its client comes back twice, and is passed on to one member and to the other
        turn = accelerator.turn
        accelerator.goes_on_over_tls()
        must_come(lambda: accelerator.turn > turn, "the client comes back")
        turn = accelerator.turn
        accelerator.closes(CLEAR_PORT)
        must_come(lambda: accelerator.turn > turn, "the client comes back again")
        run = clear.playbook("rollout", *ENFORCE).must_end(0)
        assert set(clear.stages().values()) == {("enforced", "done")}, run.last_lines
        again = clear.playbook("rollout", *ENFORCE).must_end(0)
        assert again.changed == 0, again.text[-3000:]
