# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one self-contained page: no script, nothing from elsewhere; private to this collection."""

from __future__ import annotations

import base64
import datetime
import hashlib
import typing as t
from collections import Counter

from ._drawing import SIGNS, STAGES, STATUSES, Row, draw, progress
from ._markup import Markup, element, joined
from ._page_style import STYLE

#: Pairs above which one that is done is told without its gates, so that the page stays one that a browser opens.
FULLY_TOLD: t.Final = 1500
SOON: t.Final = 15
NEAR: t.Final = 30
ARROW: t.Final = " \N{RIGHTWARDS ARROW} "


def render(report: t.Mapping[str, t.Any]) -> str:
    """Return the page of a report (version 1, docs/report.md)."""
    rows = sorted(report["connections"], key=lambda row: (row["wave"], STATUSES.index(row["status"]), row["id"]))
    anchors = {row["id"]: "pair-%d" % number for number, row in enumerate(rows, start=1)}
    now = _moment(report["generated_at"])
    body = element(
        "main",
        _head(report, now),
        _summary(rows, report["identities"], now),
        _tasks(report["findings"], anchors),
        element(
            "section",
            element("h2", "Connections", element("small", "an arrow goes from the client to the server that it dials")),
            element("div", draw(rows, anchors), class_="scroll", tabindex=0),
            class_="graph",
        )
        if rows
        else None,
        _pairs(rows, anchors, now),
        _unprotected(rows, anchors),
        _identities(report["identities"], now),
        _foot(report),
    )
    return "<!DOCTYPE html>\n%s\n" % element("html", _meta(now), element("body", _skip(), body), lang="en")


def _meta(now: datetime.datetime) -> Markup:
    """Return the head: the style is allowed by its digest, and nothing else is."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'" % digest
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", "TLS report, %s" % now.strftime("%Y-%m-%d %H:%M")),
        element("style", Markup(STYLE)),
    )


def _skip() -> Markup:
    return element("a", "To the table of pairs", href="#pairs", class_="skip")


def _head(report: t.Mapping[str, t.Any], now: datetime.datetime) -> Markup:
    run = report["run"]
    said = [now.strftime("%-d %B %Y, %H:%M UTC")]
    if run.get("goal"):
        said.append("%s%s" % (run["goal"], " until %s" % run["until"] if run.get("until") else ""))
    if run.get("operator"):
        said.append("run by %s" % run["operator"])
    return element(
        "header",
        element("h1", "Connections on their way to TLS"),
        element("p", " \N{MIDDLE DOT} ".join(said), class_="sub"),
        element("p", "Check mode: nothing was changed, and gates count as passed.", class_="note")
        if run.get("check_mode")
        else None,
    )


def _summary(rows: t.Sequence[Row], identities: t.Sequence[Row], now: datetime.datetime) -> Markup:
    statuses = Counter(row["status"] for row in rows)
    stages = Counter(row["stage"] for row in rows)
    enforced = stages["enforced"]
    figures = [("pairs enforced", joined("%d" % enforced, element("small", " of %d" % len(rows))), "enforced")]
    figures += [
        (name, joined("%d" % statuses[name]), name) for name in ("failed", "waiting", "blocked") if statuses[name]
    ]
    expiries = [item["expires"] for item in identities if item.get("expires")]
    if expiries:
        days = _days(min(expiries), now)
        figures.append(
            ("until the first certificate expires", joined("%d" % days, element("small", " days")), "expiry")
        )
    return element(
        "div",
        element(
            "dl",
            [element("div", element("dt", name), element("dd", figure), class_=kind) for name, figure, kind in figures],
            class_="counts",
        ),
        progress(stages),
        element("ul", [_legend(stage, stages[stage]) for stage in reversed(STAGES) if stages[stage]], class_="legend"),
        class_="summary",
    )


def _legend(stage: str, count: int) -> Markup:
    swatch = element(
        "svg",
        element("rect", width=10, height=10, rx=3, class_="fill-%s" % stage),
        viewBox="0 0 10 10",
        aria_hidden="true",
    )
    return element("li", swatch, element("b", count), " ", stage)


def _tasks(findings: t.Sequence[Row], anchors: t.Mapping[str, str]) -> Markup | None:
    """Return what somebody has to do, failures first; findings that say the same stand together."""
    groups: dict[tuple[t.Any, ...], list[Row]] = {}
    for finding in sorted(findings, key=_gravity):
        key = tuple(finding.get(name) for name in ("status", "gate", "expected", "seen", "todo"))
        groups.setdefault(key, []).append(finding)
    if not groups:
        return None
    return element(
        "section",
        element("h2", "What is not done, and what to do"),
        element("div", [_task(group, anchors) for group in groups.values()], class_="tasks"),
    )


def _gravity(finding: Row) -> tuple[int, bool, str]:
    """Return what findings are sorted by: the gravest first, and of what waits, what ends soon."""
    return STATUSES.index(finding["status"]), not finding.get("urgent"), str(finding.get("pair"))


def _task(group: t.Sequence[Row], anchors: t.Mapping[str, str]) -> Markup:
    first = group[0]
    names = [_finding_name(row, anchors) for row in group]
    shown: list[Markup] = [joined(name, " ") for name in names[:3]]
    rest = names[3:]
    return element(
        "div",
        element("header", _badge(first["status"]), element("span", shown)),
        element(
            "details",
            element("summary", "and %d more" % len(rest)),
            element("ul", [element("li", name) for name in rest]),
        )
        if rest
        else None,
        element(
            "dl",
            element("dt", "Gate"),
            element("dd", first["gate"]),
            element("dt", "Expected"),
            element("dd", first["expected"]),
            element("dt", "Seen"),
            element("dd", first["seen"]),
            [element("dt", "To do"), element("dd", first["todo"], class_="do")] if first.get("todo") else None,
        ),
        class_="task %s" % first["status"],
    )


def _finding_name(row: Row, anchors: t.Mapping[str, str]) -> Markup:
    name = str(row.get("pair") or row.get("instance") or "the fleet")
    if name in anchors:
        return element("a", name.replace("->", ARROW), href="#" + anchors[name], class_="id")
    return element("span", name, class_="id")


def _badge(status: str) -> Markup:
    return element("span", element("span", SIGNS[status], aria_hidden="true"), status, class_="badge %s" % status)


def _pairs(rows: t.Sequence[Row], anchors: t.Mapping[str, str], now: datetime.datetime) -> Markup:
    statuses = Counter(row["status"] for row in rows)
    waves: dict[int, list[Row]] = {}
    for row in rows:
        waves.setdefault(row["wave"], []).append(row)
    brief = len(rows) > FULLY_TOLD
    heads = ("Client and server", "Stage", "Status", "Evidence", "Expires", "Category")
    return element(
        "section",
        element("h2", "Pairs", element("small", "%d" % len(rows))),
        _filter(statuses, len(rows)) if len(statuses) > 1 else None,
        element("p", "There are many pairs: those that are done are told without their gates.", class_="small")
        if brief
        else None,
        element(
            "table",
            element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
            [
                element(
                    "tbody",
                    _wave(wave, members),
                    [_pair(row, anchors[row["id"]], now, brief=brief and row["status"] == "done") for row in members],
                )
                for wave, members in waves.items()
            ],
        ),
        id="pairs",
        class_="pairs",
    )


def _filter(statuses: t.Mapping[str, int], total: int) -> Markup:
    """Return the choice of rows; the style sheet acts on it, so that no script is needed."""
    choices = [
        ("all", "all", total),
        *(("only-" + name, name, statuses[name]) for name in STATUSES if statuses.get(name)),
    ]
    return element(
        "fieldset",
        [
            element(
                "label",
                element("input", type="radio", name="rows", id=identifier, checked=identifier == "all"),
                "%s %d" % (name, count),
            )
            for identifier, name, count in choices
        ],
        class_="filter",
        aria_label="Rows to show",
    )


def _wave(wave: int, members: t.Sequence[Row]) -> Markup:
    done = sum(1 for row in members if row["status"] == "done")
    said = element("span", "%d of %d done" % (done, len(members)))
    return element("tr", element("th", "Wave %d" % wave, said, colspan=6, scope="rowgroup"), class_="wave")


def _pair(row: Row, anchor: str, now: datetime.datetime, *, brief: bool) -> Markup:
    listener = "%s, %s, %s" % (row["listener"], row["protocol"], row["mode"])
    ends = joined(
        element("span", row["client"], class_="id"),
        element("span", ARROW, class_="arrowhead"),
        element("span", row["server"], class_="id"),
    )
    return element(
        "tr",
        element("td", element("div", ends), element("div", listener, class_="small"), class_="wide"),
        element("td", _rail(row), data_label="Stage"),
        element("td", _badge(row["status"]), data_label="Status"),
        element("td", element("div", _last(row), None if brief else _gates(row)), data_label="Evidence"),
        element("td", _expiry(row.get("expires"), now), data_label="Expires", class_="number"),
        element("td", _category(row["category"]), data_label="Category"),
        id=anchor,
        class_="pair %s" % row["status"],
    )


def _rail(row: Row) -> Markup:
    """Return the stage in words, beside one dot a stage, filled as far as the pair has come."""
    stages = [stage for stage in STAGES if stage != "demanded" or row["mode"] == "mutual"]
    reached = stages.index(row["stage"]) if row["stage"] in stages else 0
    dots = [
        element("circle", cx=6 + 11 * at, cy=6, r=4, class_="fill-%s" % (row["stage"] if at <= reached else "none"))
        for at in range(len(stages))
    ]
    drawing = element("svg", dots, viewBox="0 0 80 12", aria_hidden="true")
    return element("span", drawing, element("span", row["stage"], class_="stage-%s" % row["stage"]), class_="rail")


def _last(row: Row) -> Markup:
    """Return the evidence that decides: what the last gate saw, and how safe that is."""
    if not row["evidence"]:
        return element("div", "nobody looked", class_="small")
    last = row["evidence"][-1]
    return joined(element("div", last["seen"]), element("div", _worth(last, row), class_="small"))


def _worth(last: Row, row: Row) -> str:
    """Return what the evidence is worth: its gate, its security, and whether live traffic showed it."""
    parts = ["gate " + last["gate"]]
    if last.get("security"):
        parts.append(str(last["security"]).replace("_", " "))
    if STAGES.index(row["stage"]) >= STAGES.index("switched"):
        live = any(item.get("live") for item in row["evidence"])
        parts.append("seen on live traffic" if live else "unexercised")
    return ", ".join(parts)


def _gates(row: Row) -> Markup:
    items = []
    for item in row["evidence"]:
        sign = SIGNS["done"] if item.get("holds", True) else SIGNS["failed"]
        worth = [str(item["security"]).replace("_", " ")] if item.get("security") else []
        worth += ["live"] if item.get("live") else []
        said = "%s (%s)" % (item["seen"], ", ".join(worth)) if worth else item["seen"]
        items.append(
            element("li", sign, " ", element("b", item["gate"]), ": expected ", item["expected"], "; seen: ", said)
        )
    count = len(items)
    todo = element("p", element("b", "To do: "), row["todo"]) if row.get("todo") else None
    return joined(
        todo,
        element("details", element("summary", "%d gate%s" % (count, "" if count == 1 else "s")), element("ol", items))
        if items
        else None,
    )


def _category(category: Row) -> Markup:
    systems, builds = category["operating_systems"], category["implementation"]
    said = "%s, %s" % (str(category["relation"]).replace("_", " "), category["protocol"])
    ends = "%s; %s" % (_either(systems), _either(builds))
    reasons = [
        element("li", element("b", str(name).replace("_", " ")), ": ", reason)
        for name, reason in sorted(dict(category.get("reasons") or {}).items())
    ]
    told = element("details", element("summary", "why"), element("ul", reasons)) if reasons else None
    return element("div", element("div", said), element("div", ends, class_="small"), told)


def _either(values: t.Any) -> str:
    """Return the words of both ends, once where they are the same."""
    return str(values) if isinstance(values, str) else " and ".join(dict.fromkeys(map(str, values)))


def _unprotected(rows: t.Sequence[Row], anchors: t.Mapping[str, str]) -> Markup | None:
    """Return the pairs that somebody decided not to protect, with the decision; None if there are none."""
    decided = [row for row in rows if row.get("unprotected")]
    if not decided:
        return None
    heads = ("Not protected", "Reason", "Decided by", "Until")
    return element(
        "section",
        element("h2", "Not to be protected", element("small", "somebody decided it; the listeners stay open")),
        element(
            "table",
            element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
            element("tbody", [_decision(row, anchors) for row in decided]),
        ),
        class_="identities",
    )


def _decision(row: Row, anchors: t.Mapping[str, str]) -> Markup:
    decision = row["unprotected"]
    over = element("b", " over: decide anew") if decision.get("overdue") else None
    return element(
        "tr",
        element("td", element("a", row["id"], href="#" + anchors[row["id"]], class_="id"), class_="wide"),
        element("td", decision["reason"], data_label="Reason"),
        element("td", decision["approver"], data_label="Decided by"),
        element("td", decision["until"], over, data_label="Until"),
        class_="identity",
    )


def _identities(identities: t.Sequence[Row], now: datetime.datetime) -> Markup | None:
    if not identities:
        return None
    heads = ("Identity", "Host and path", "Owner", "Issuer", "Serial", "Expires")
    rows = sorted(identities, key=lambda row: (row.get("expires") or "", row["name"], row["host"]))
    return element(
        "section",
        element("h2", "Identities", element("small", "%d, the first to expire first" % len(rows))),
        element(
            "table",
            element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
            element("tbody", [_identity(row, now) for row in rows]),
        ),
        class_="identities",
    )


def _identity(row: Row, now: datetime.datetime) -> Markup:
    names = row.get("names") or []
    told = (
        element(
            "details",
            element("summary", "%d name%s" % (len(names), "" if len(names) == 1 else "s")),
            element("ul", [element("li", name, class_="id") for name in names]),
        )
        if names
        else None
    )
    return element(
        "tr",
        element("td", element("div", row["name"], class_="id"), told, class_="wide"),
        element(
            "td",
            element("div", element("div", row["host"]), element("div", row.get("path"), class_="small id")),
            data_label="Host",
        ),
        element("td", row.get("owner") or "\N{EN DASH}", data_label="Owner"),
        element("td", row.get("issuer") or "", data_label="Issuer"),
        element("td", element("span", row.get("serial") or "", class_="id small"), data_label="Serial"),
        element("td", _expiry(row.get("expires"), now), data_label="Expires", class_="number"),
        class_="identity",
    )


def _expiry(expires: str | None, now: datetime.datetime) -> Markup:
    """Return a date, with the days that are left; in words too where they are few."""
    if not expires:
        return element("span", "\N{EN DASH}", class_="small", aria_label="not known")
    days = _days(expires, now)
    kind, word = (
        ("soon", "expired")
        if days < 0
        else ("soon", "expires soon")
        if days < SOON
        else ("near", "is due")
        if days < NEAR
        else (None, "")
    )
    left = "%d day%s left" % (days, "" if days == 1 else "s") if days >= 0 else "%d days ago" % -days
    return element(
        "div",
        element("div", _moment(expires).strftime("%Y-%m-%d")),
        element("div", ", ".join(filter(None, (left, word))), class_="small %s" % kind if kind else "small"),
    )


def _foot(report: t.Mapping[str, t.Any]) -> Markup:
    lost = report["run"].get("hosts_lost") or {}
    return element(
        "footer",
        element("p", "Hosts that did not answer: ", ", ".join(sorted(lost)), ".") if lost else None,
        element(
            "p",
            "A pair is a client instance and the listener of a server instance that it dials. A gate looks; it never"
            " believes a task. Unexercised: seen in a probe or read back, not on live traffic.",
        ),
        element("p", "connsec.tls, report version %d, generated %s" % (report["version"], report["generated_at"])),
    )


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)


def _days(expires: str, now: datetime.datetime) -> int:
    return (_moment(expires) - now) // datetime.timedelta(days=1)
