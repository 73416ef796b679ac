# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small PowerShell for the twin: it runs the text of our own modules, on classes of .NET that act on a modelled host.

There is no PowerShell for the machines that run our tests. So this one knows what our modules use of the language, and
refuses all else by name: a statement, an operator, a type, a member or a parameter that it does not know ends the
task. What is parsed, and that it can be, is the judgement of tree-sitter's grammar of PowerShell, which is not ours.

`syntax.py` reads, `language.py` runs, `values.py` converts, `dotnet.py` and `cmdlets.py` are what is called.
"""

from __future__ import annotations

import typing as t

from ..machine import Machine
from ..model import Call, Result
from .basic import Ended
from .language import Session


def run(text: bytes, machine: Machine, call: Call, utilities: t.Iterable[bytes] = ()) -> Result:
    """Run a module's text after those of the utilities that it requires, and return what it ended with.

    Raises:
        Failed: it ended with a failure.
        Refused: it uses what is not modelled.
    """
    session = Session(machine, call)
    try:
        for each in utilities:
            session.load(each)
        session.run(text)
    except Ended as ended:
        return ended.result
    raise AssertionError("a module ends with ExitJson or FailJson; this one came to its end without")
