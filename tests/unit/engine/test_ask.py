# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is whole or refused, whoever starts it."""

from __future__ import annotations

import pytest
from ansible_collections.connsec.tls.plugins.module_utils._core._errors import TlsError
from ansible_collections.connsec.tls.plugins.plugin_utils._ask import refuse_partial_runs


@pytest.mark.parametrize("skipped", [[], ["molecule-notest", "notest", "molecule-idempotence-notest"]])
def test_a_whole_run_is_let_through_also_where_molecule_starts_it(skipped: list[str]) -> None:
    refuse_partial_runs({"ansible_run_tags": ["all"], "ansible_skip_tags": skipped}, strategy="linear")


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_run_tags": ["pki"]},
        {"ansible_skip_tags": ["steps"]},
        {"ansible_skip_tags": ["molecule-notest", "notest", "steps"]},
    ],
)
def test_a_run_of_some_tags_is_refused(variables: dict[str, list[str]]) -> None:
    with pytest.raises(TlsError, match="--tags and --skip-tags would leave steps out of their order"):
        refuse_partial_runs(variables, strategy="linear")
