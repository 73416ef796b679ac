# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work spread over the processors of the controller; private to this collection."""

from __future__ import annotations

import os
import pickle
import threading
import typing as t

from ..module_utils._core._errors import TlsError
from ._folder import StoreError

_T = t.TypeVar("_T")
MOST_WORKERS = 8


def processors() -> int:
    """Return how many processors this process may use."""
    try:
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    except AttributeError:  # a controller that is not Linux
        return min(os.cpu_count() or 1, MOST_WORKERS)


def spread(work: t.Callable[[int], _T], count: int, *, workers: int | None = None, again: bool = False) -> list[_T]:
    """Return ``[work(0), work(1), ...]``, computed by forked processes side by side.

    Signing, encrypting and rendering hold Python's global lock, so threads bring nothing. The children inherit keys by
    the fork and answer through a pipe: no secret gets an argument, a file or a name. With other threads about, a fork
    could inherit a lock that nobody releases; then the work is done here.

    Args:
        work: returns a result that can be pickled.
        count: how many there are.
        workers: how many processes; as many as there are processors where this is None.
        again: do here what a child failed at, so that its error is raised as if there had been no children.

    Raises:
        StoreError: a child failed, and ``again`` is not asked for.
    """
    workers = min(workers if workers is not None else processors(), count)
    if workers < 2 or threading.active_count() > 1:
        return [work(index) for index in range(count)]
    shares = [range(first, count, workers) for first in range(workers)]
    children: list[tuple[int, int]] = []
    try:
        for share in shares[1:]:
            children.append(_start(work, share))
        results = {index: work(index) for index in shares[0]}
        for (_pid, pipe), share in zip(children, shares[1:], strict=True):
            answer = _answer_from(pipe)
            if isinstance(answer, str):
                if not again:
                    raise StoreError(answer)
                answer = {index: work(index) for index in share}
            results.update(answer)
    finally:
        for pid, pipe in children:
            os.close(pipe)
            os.waitpid(pid, 0)
    return [results[index] for index in range(count)]


def _start(work: t.Callable[[int], _T], share: range) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        os.close(reading)
        try:
            answer: t.Any = {index: work(index) for index in share}
        except TlsError as error:
            answer = str(error)
        except Exception as error:
            answer = "a signing process failed (%s: %s), so nothing was published" % (type(error).__name__, error)
        with os.fdopen(writing, "wb") as out:
            pickle.dump(answer, out, protocol=pickle.HIGHEST_PROTOCOL)
    finally:
        os._exit(0)


def _answer_from(pipe: int) -> dict[int, t.Any] | str:
    """Return a child's results by number, or what it failed at."""
    with os.fdopen(os.dup(pipe), "rb") as source:
        data = source.read()
    if not data:
        return "a signing process died; the machine may be out of memory, so nothing was published"
    return t.cast("dict[int, t.Any] | str", pickle.loads(data))  # our own child wrote it
