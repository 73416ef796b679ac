# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs for the tests on real hosts. Where this machine cannot run one, they are left out, and the last lines say so."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from pathlib import Path

import pytest

from . import Unfit, base, driver, fitness
from .names import Net, parse_hosts

_HERE: t.Final = Path(__file__).resolve().parent

#: Each process of tests has a network of its own, and a second one for what lives beside it.
_PART: t.Final = os.getpid() % 120
NET: t.Final = Net("10.78.%d" % (2 * _PART))
BESIDE: t.Final = Net("10.78.%d" % (2 * _PART + 1))


def _why_not() -> str | None:
    try:
        fitness.check(building=base.find() is None)
    except Unfit as error:
        return str(error)
    return None


_REASON: t.Final = _why_not()


#: What tests tell besides whether they passed: what took how long, and what was counted.
_TOLD: t.Final[list[str]] = []


def told(words: str) -> None:
    """Say something in the last lines of the run."""
    _TOLD.append(words)


@contextlib.contextmanager
def taking(what: str) -> t.Iterator[None]:
    """Say in the last lines of the run how long something took."""
    began = time.monotonic()
    yield
    told("%s: %.1f s" % (what, time.monotonic() - began))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker's tests tell to the process that writes the last lines."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["lab_told"] = _TOLD


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: t.Any) -> None:
    """Take in what a worker's tests tell."""
    _TOLD.extend(getattr(node, "workeroutput", {}).get("lab_told", ()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests on real hosts out where there can be none."""
    if _REASON is not None:
        for item in items:
            if item.path.parent == _HERE:
                item.add_marker(pytest.mark.skip(reason="LEFT OUT: " + _REASON))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the tests tell, and loudly what was left out."""
    if _TOLD:
        terminalreporter.section("the lab")
        terminalreporter.write("".join(line + "\n" for line in _TOLD))
    if _REASON is not None:
        terminalreporter.section("LEFT OUT: all tests on real hosts", sep="#", bold=True)
        terminalreporter.line(_REASON)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> t.Iterator[driver.Lab]:
    """The hosts that a module of tests names; else three, on one of which little can be written."""
    driver.build(print)
    with driver.lab(NET, parse_hosts(getattr(request.module, "HOSTS", "web,db,small=48m"))) as found:
        yield found


@pytest.fixture
def fresh_lab(request: pytest.FixtureRequest) -> t.Iterator[driver.Lab]:
    """The hosts that a module of tests names, booted anew for each test."""
    driver.build(print)
    with driver.lab(NET, parse_hosts(request.module.HOSTS)) as found:
        yield found


@pytest.fixture
def net() -> t.Iterator[Net]:
    """A network in which no lab is left when the test ends, however it does."""
    driver.build(print)
    yield BESIDE
    driver.down(BESIDE)
