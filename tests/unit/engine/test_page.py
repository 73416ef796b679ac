# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a report: one file that asks for nothing else, in which no name of a fleet becomes markup."""

from __future__ import annotations

import base64
import copy
import hashlib
import html.parser
import random
import re

import pytest
from ansible_collections.connsec.tls.plugins.plugin_utils._drawing import SIGNS, STAGES, STATUSES
from ansible_collections.connsec.tls.plugins.plugin_utils._markup import VOID
from ansible_collections.connsec.tls.plugins.plugin_utils._page import FULLY_TOLD, render

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style><b>bold",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "right\N{RIGHT-TO-LEFT OVERRIDE}tfel",
    "nul\x00and escape\x1b[31m",
)

#: Attributes by which a page would fetch something or run something.
FETCHING = frozenset({"src", "srcset", "data", "poster", "action", "formaction", "background", "ping", "xlink:href"})


class Page(html.parser.HTMLParser):
    """A page that was read back: its elements, its text by element, and whether every element ends where it has to."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.styles, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        (self.styles if self._open[-1:] == ["style"] else self.texts).append(data)

    @property
    def text(self):
        return "\n".join(self.texts)

    def tags(self):
        return {tag for tag, _attributes in self.elements}

    def having(self, *classes):
        """Return the attributes of the elements that have all these classes."""
        found = [(attributes.get("class") or "").split() for _tag, attributes in self.elements]
        return [
            attributes for (_tag, attributes), has in zip(self.elements, found, strict=True) if set(classes) <= set(has)
        ]


def evidence(gate, *, holds=True, **more):
    row = {"gate": gate, "holds": holds, "expected": "something", "seen": "it", "security": None, "live": False}
    return {**row, "todo": None, **more}


def pair(client="router@urs1", server="crm_db@db1", *, stage="enforced", status="done", **more):
    """Return a pair of the report, at a stage, with a gate for each stage that it has behind it."""
    reached = STAGES[: STAGES.index(stage) + 1]
    row = {
        "id": "%s->%s" % (client, server.replace("@", ".sql@")),
        "client": client,
        "server": server,
        "component_client": client.partition("@")[0],
        "component_server": server.partition("@")[0],
        "client_host": client.partition("@")[2],
        "server_host": server.partition("@")[2],
        "listener": "%s.sql" % server.partition("@")[0],
        "protocol": "postgresql",
        "mode": "simple",
        "wave": 1,
        "stage": stage,
        "status": status,
        "evidence": [evidence(gate, security="verified" if gate == "switched" else None) for gate in reached],
        "todo": None,
        "since": "2026-01-01T12:00:00+00:00",
        "expires": "2026-03-31T12:00:00+00:00",
        "category": {
            "relation": "internal",
            "protocol": "postgresql",
            "operating_systems": ["linux", "linux"],
            "implementation": ["pem_service", "pem_service"],
            "reasons": {"relation": "both ends are ours"},
        },
    }
    return {**row, **more}


def identity(name="crm_db@db1", **more):
    row = {
        "name": name,
        "host": name.partition("@")[2],
        "path": "/etc/connsec/crm_db/current/certificate.pem",
        "owner": "database team",
        "account": "crm",
        "issuer": "CN=connsec issuing 1",
        "serial": "2a",
        "names": ["192.0.2.21"],
        "expires": "2026-03-31T12:00:00+00:00",
        "installed": "000001",
    }
    return {**row, **more}


def finding(row, **more):
    last = row["evidence"][-1]
    found = {name: last[name] for name in ("gate", "expected", "seen")}
    return {"pair": row["id"], "status": row["status"], "todo": row["todo"], **found, **more}


def report(*rows, identities=(), findings=(), **run):
    told = {"goal": "rollout", "until": "enforced", "scope": 1, "operator": "me", "check_mode": False, "hosts_lost": {}}
    return {
        "version": 1,
        "generated_at": "2026-01-01T12:00:00+00:00",
        "run": {**told, **run},
        "connections": list(rows),
        "identities": list(identities),
        "findings": list(findings),
    }


def undone():
    """Return a report with a pair of each status, and a finding for each of those that are not done."""
    rows = [
        pair("a@h1"),
        pair("b@h1", stage="switched", status="waiting", todo="wait for wave 2"),
        pair("c@h1", stage="plain", status="blocked"),
        pair("d@h1", stage="permissive", status="failed", todo="look at the log of crm_db@db1"),
    ]
    rows[3]["evidence"].append(evidence("switched", holds=False, expected="a TLS session", seen="a clear one"))
    return report(*rows, identities=[identity()], findings=[finding(row) for row in rows[1:]])


def test_it_is_one_file_that_fetches_nothing_and_runs_nothing():
    page = Page(render(undone()))
    assert not page.tags() & {"script", "link", "iframe", "img", "object", "embed", "base", "form", "audio", "video"}
    for tag, attributes in page.elements:
        assert not set(attributes) & FETCHING, tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert attributes.get("href", "#").startswith("#"), attributes
    (style,) = page.styles
    assert not re.search(r"@import|url\(|expression|http", style)


def test_its_policy_allows_its_own_style_and_nothing_else():
    page = Page(render(undone()))
    (policy,) = (row["content"] for _tag, row in page.elements if row.get("http-equiv") == "Content-Security-Policy")
    (style,) = page.styles
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; style-src 'sha256-%s';" % digest)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    clean = Page(render(report(pair("x@y", "z@y"), identities=[identity()], findings=[finding(pair("x@y", "z@y"))])))
    row = pair(text + "@y", "z@y", todo=text, listener=text, protocol=text)
    row["evidence"] = [evidence(text, holds=False, expected=text, seen=text, security=text)]
    row["category"].update(relation=text, protocol=text, implementation=[text], reasons={text: text})
    hostile = identity(text, owner=text, path=text, issuer=text, serial=text, names=[text])
    page = Page(
        render(
            report(
                row,
                identities=[hostile],
                findings=[finding(row, pair=None, instance=text, todo=text), finding(row, status="failed")],
                operator=text,
                hosts_lost={text: text},
            )
        )
    )
    assert page.tags() <= clean.tags() | {"details", "summary", "ol", "ul", "li", "p", "b"}
    names = {name for _tag, attributes in clean.elements for name in attributes}
    assert {name for _tag, attributes in page.elements for name in attributes} <= names
    assert all(attributes.get("href", "#").startswith("#") for _tag, attributes in page.elements)
    shown = re.sub("[\x00\x1b\N{RIGHT-TO-LEFT OVERRIDE}]", "\N{REPLACEMENT CHARACTER}", text)
    assert shown in page.text
    assert not re.search("[\x00\x1b\N{RIGHT-TO-LEFT OVERRIDE}]", page.text)


def test_every_status_has_its_rows_its_sign_and_a_choice_to_show_it_alone():
    page = Page(render(undone()))
    for status in STATUSES:
        assert len(page.having("pair", status)) == 1
        assert SIGNS[status] in page.text
        assert [row for tag, row in page.elements if tag == "input" and row["id"] == "only-" + status]


def test_what_is_not_done_stands_above_the_table_failures_first_with_what_to_do():
    page = Page(render(undone()))
    kinds = [row["class"] for row in page.having("task")]
    assert kinds == ["task failed", "task waiting", "task blocked"]
    tasks = page.text[page.text.index("What is not done") : page.text.index("\nConnections\n")]
    for words in ("a TLS session", "a clear one", "look at the log of crm_db@db1", "wait for wave 2"):
        assert words in tasks


def test_findings_that_say_the_same_stand_together():
    rows = [pair("a%d@h" % number, stage="plain", status="waiting") for number in range(5)]
    page = Page(render(report(*rows, findings=[finding(row) for row in rows])))
    assert len(page.having("task")) == 1
    assert "and 2 more" in page.text


def test_a_fleet_that_is_done_has_nothing_to_do_and_nothing_to_choose():
    page = Page(render(report(pair("a@h1"), pair("b@h1"), identities=[identity()])))
    assert page.having("task") == [] and page.having("filter") == []
    assert "What is not done" not in page.text


def test_every_link_leads_to_a_place_in_the_page():
    page = Page(render(undone()))
    places = {attributes["id"] for _tag, attributes in page.elements if "id" in attributes}
    links = {attributes["href"][1:] for _tag, attributes in page.elements if "href" in attributes}
    markers = {
        attributes[name][5:-1]
        for _tag, attributes in page.elements
        for name in ("marker-start", "marker-end")
        if name in attributes
    }
    assert links | markers <= places
    assert len(places) == sum(1 for _tag, attributes in page.elements if "id" in attributes), "an id stands twice"


def test_the_same_report_makes_the_same_bytes_in_whatever_order_its_rows_come():
    once = undone()
    shuffled = copy.deepcopy(once)
    for name in ("connections", "findings"):
        random.Random(0).shuffle(shuffled[name])
    assert render(once) == render(once)
    assert render(shuffled) == render(once)


@pytest.mark.parametrize(
    ("expires", "words"),
    [
        ("2025-12-31T11:00:00+00:00", "2 days ago, expired"),
        ("2026-01-05T13:00:00+00:00", "4 days left, expires soon"),
        ("2026-01-20T13:00:00+00:00", "19 days left, is due"),
        ("2026-01-02T13:00:00+00:00", "1 day left, expires soon"),
        ("2026-03-31T12:00:00+00:00", "89 days left"),
    ],
)
def test_an_expiry_is_told_in_days(expires, words):
    assert words in Page(render(report(pair(expires=expires), identities=[]))).texts


def test_cluster_links_and_cycles_are_drawn():
    rows = [pair("a@h", "a@i"), pair("a@h", "b@h"), pair("b@h", "c@h"), pair("c@h", "a@h")]
    page = Page(render(report(*rows)))
    assert len(page.having("arrow")) == 4
    assert [row for row in page.having("line") if "marker-start" in row], "an edge of a cycle is turned"


def test_nothing_enumerated_makes_a_page_too():
    page = Page(render(report()))
    assert "svg" in page.tags()
    assert page.having("graph") == []


def test_many_pairs_that_are_done_are_told_without_their_gates():
    rows = [pair("a@h%04d" % number) for number in range(FULLY_TOLD)]
    failed = pair("z@h", stage="plain", status="failed")
    page = Page(render(report(*rows, failed)))
    assert "There are many pairs" in page.text
    assert page.text.count("expected") == 1
