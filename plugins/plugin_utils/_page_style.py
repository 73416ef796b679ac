# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the report page looks: on a screen, on a phone, in the dark, and on paper; private to this collection."""

from __future__ import annotations

import typing as t

STYLE: t.Final = """
:root {
  color-scheme: light dark;
  --paper: #f5f6f8; --card: #fff; --ink: #1b2230; --soft: #5b6575; --line: #e0e4ea; --wash: #f0f2f6; --link: #1f5fbf;
  --plain: #8b93a1; --trusted: #8467c4; --presented: #4a6fd0; --permissive: #0e87b8; --switched: #0b968c;
  --demanded: #3b9a4a; --enforced: #177a3c; --failed: #c62a2a; --waiting: #a86400; --blocked: #7c8594;
  --failed-wash: #fdecec; --waiting-wash: #fff5e0; --blocked-wash: #eef0f3; --done-wash: #e7f5ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161d; --card: #1b212b; --ink: #e6eaf0; --soft: #9aa5b5; --line: #2f3846; --wash: #232b37;
    --link: #7fb2ff;
    --plain: #8d97a6; --trusted: #a68df0; --presented: #7d9bf2; --permissive: #3fb2e0; --switched: #35bdb2;
    --demanded: #63c174; --enforced: #46b56c; --failed: #ff7b7b; --waiting: #f0b050; --blocked: #8d97a6;
    --failed-wash: #3a1d20; --waiting-wash: #35290f; --blocked-wash: #272e39; --done-wash: #16301f;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 82rem; margin: 0 auto; padding: 1.75rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; letter-spacing: -.015em; }
h2 { font-size: 1.1rem; margin: 0 0 .9rem; letter-spacing: -.005em; }
h2 small { font-weight: 400; color: var(--soft); font-size: .85rem; margin-left: .5rem; }
p { margin: 0; }
a { color: var(--link); }
code, .id {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .9em;
  overflow-wrap: anywhere;
}
.sub { color: var(--soft); margin-top: .3rem; }
.note { background: var(--waiting-wash); border-radius: .5rem; padding: .6rem .9rem; margin-top: 1rem; }
section, .summary {
  background: var(--card); border: 1px solid var(--line); border-radius: .9rem; padding: 1.25rem 1.35rem;
  margin-top: 1.25rem;
}

.summary .counts { display: flex; flex-wrap: wrap; gap: .6rem 2.6rem; margin: 0 0 1.1rem; }
.counts div { display: flex; flex-direction: column-reverse; }
.counts dt { color: var(--soft); font-size: .85rem; }
.counts dd {
  margin: 0; font-size: 1.85rem; line-height: 1.2; font-weight: 650; font-variant-numeric: tabular-nums;
  letter-spacing: -.02em;
}
.counts dd small { font-size: 1rem; font-weight: 400; color: var(--soft); letter-spacing: 0; }
.counts .failed dd { color: var(--failed); } .counts .waiting dd { color: var(--waiting); }
.bar { display: block; width: 100%; height: .9rem; border-radius: .45rem; background: var(--wash); }
.legend {
  display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; margin: .75rem 0 0; padding: 0;
  color: var(--soft); font-size: .87rem;
}
.legend svg { width: .8rem; height: .8rem; margin-right: .4rem; vertical-align: -.06rem; }
.legend b { color: var(--ink); font-variant-numeric: tabular-nums; }

.tasks { display: grid; gap: .7rem; }
.task { border-left: 4px solid var(--line); border-radius: .5rem; background: var(--wash); padding: .75rem 1rem; }
.task.failed { border-color: var(--failed); background: var(--failed-wash); }
.task.waiting { border-color: var(--waiting); background: var(--waiting-wash); }
.task.blocked { border-color: var(--blocked); background: var(--blocked-wash); }
.task header, .task header > span:last-child {
  display: flex; flex-wrap: wrap; gap: .3rem .9rem; align-items: baseline;
}
.task dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: .45rem 0 0; }
.task dt { color: var(--soft); } .task dd { margin: 0; overflow-wrap: anywhere; }
.task dd.do { font-weight: 600; }

.badge {
  display: inline-flex; gap: .35rem; align-items: baseline; border-radius: 1rem; padding: .05rem .65rem;
  font-size: .85rem; font-weight: 600; white-space: nowrap;
}
.badge.done { background: var(--done-wash); color: var(--enforced); }
.badge.failed { background: var(--failed-wash); color: var(--failed); }
.badge.waiting { background: var(--waiting-wash); color: var(--waiting); }
.badge.blocked { background: var(--blocked-wash); color: var(--soft); }
.task .badge { background: none; padding: 0; }

.scroll { overflow-x: auto; margin: 0 -1.35rem; padding: 0 1.35rem .4rem; }
.graph svg { display: block; margin: 0 auto; max-width: none; height: auto; }
.graph svg.fitted { max-width: 100%; min-width: 60rem; }
.component rect { fill: var(--card); stroke: var(--soft); stroke-width: 1.2; }
.component text { text-anchor: middle; fill: var(--ink); }
.component .name { font-size: 13.5px; font-weight: 650; } .component .hosts { font-size: 11px; fill: var(--soft); }
.arrow { color: var(--plain); text-decoration: none; }
.arrow .reach { fill: none; stroke: transparent; stroke-width: 15; pointer-events: stroke; }
.arrow .line { fill: none; stroke: currentColor; stroke-width: 2; }
.arrow .label {
  fill: currentColor; font-size: 10.5px; font-weight: 600; paint-order: stroke; stroke: var(--card);
  stroke-width: 3.5px; stroke-linejoin: round;
}
.label.end { text-anchor: end; } .label.middle { text-anchor: middle; }
.arrow.status-waiting .line { stroke-dasharray: 7 5; } .arrow.status-blocked .line { stroke-dasharray: 2 5; }
.arrow.status-failed .line { stroke-width: 3; }
.arrow:hover .line, .arrow:focus .line { stroke-width: 4; } .arrow:focus { outline: none; }
.graph svg:has(.arrow:hover) .arrow:not(:hover) { opacity: .22; }
.stage-plain { color: var(--plain); }
.stage-trusted { color: var(--trusted); }
.stage-presented { color: var(--presented); }
.stage-permissive { color: var(--permissive); }
.stage-switched { color: var(--switched); }
.stage-demanded { color: var(--demanded); }
.stage-enforced { color: var(--enforced); }
.arrow.status-failed { color: var(--failed); } .arrow.status-blocked { color: var(--blocked); }
.fill-plain { fill: var(--plain); } .fill-trusted { fill: var(--trusted); } .fill-presented { fill: var(--presented); }
.fill-permissive { fill: var(--permissive); }
.fill-switched { fill: var(--switched); }
.fill-demanded { fill: var(--demanded); }
.fill-enforced { fill: var(--enforced); }
.fill-failed { fill: var(--failed); }
.fill-blocked { fill: var(--blocked); }
.fill-none { fill: var(--line); }

.filter { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 .9rem; border: 0; padding: 0; }
.filter label {
  border: 1px solid var(--line); border-radius: 1rem; padding: .12rem .8rem; cursor: pointer; font-size: .88rem;
  color: var(--soft);
}
.filter input { position: absolute; opacity: 0; }
.filter label:has(:checked) { background: var(--ink); color: var(--card); border-color: var(--ink); }
.filter label:has(:focus-visible) { outline: 2px solid var(--link); outline-offset: 2px; }
.pairs:has(#only-failed:checked) tr.pair:not(.failed), .pairs:has(#only-waiting:checked) tr.pair:not(.waiting),
.pairs:has(#only-blocked:checked) tr.pair:not(.blocked), .pairs:has(#only-done:checked) tr.pair:not(.done) {
  display: none;
}

table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .84rem; }
th, td { padding: .5rem .8rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
tbody tr:last-child td { border-bottom-color: var(--line); }
tr.wave th { background: var(--wash); color: var(--ink); font-weight: 600; padding: .35rem .8rem; }
tr.wave th span { color: var(--soft); font-weight: 400; margin-left: .6rem; }
tr.pair:target td { background: var(--waiting-wash); }
.pairs td.wide { width: 18rem; } .identities td.wide { width: 13rem; } .pairs td:last-child { width: 11rem; }
td .small, .small { color: var(--soft); font-size: .85rem; }
td .arrowhead { color: var(--soft); }
.rail { display: inline-flex; gap: .5rem; align-items: center; white-space: nowrap; font-weight: 600; }
.rail svg { width: 5rem; height: .7rem; }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; } .number .small { white-space: normal; }
td .soon { color: var(--failed); font-weight: 650; } td .near { color: var(--waiting); font-weight: 650; }
details summary { cursor: pointer; color: var(--link); font-size: .85rem; }
details ol, details ul { margin: .35rem 0 .2rem; padding-left: 1.2rem; font-size: .87rem; }
details li { margin: .15rem 0; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: .87rem; margin-top: 1.5rem; padding: 0 .2rem; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .4rem .8rem; z-index: 9; }

@media (max-width: 46rem) {
  main { padding: 1.1rem .75rem 3rem; }
  section, .summary { padding: 1rem; }
  .scroll { margin: 0 -1rem; padding: 0 1rem .4rem; }
  table, tbody, tr, td, tr.wave th { display: block; width: 100%; }
  thead { position: absolute; left: -999rem; }
  tr.pair, tr.identity { padding: .7rem 0; border-bottom: 1px solid var(--line); }
  td { border: 0; padding: .12rem 0; display: grid; grid-template-columns: 6.2rem 1fr; gap: .6rem; }
  td::before { content: attr(data-label); color: var(--soft); font-size: .84rem; padding-top: .05rem; }
  td.wide { display: block; } td.wide::before { content: none; }
  .task dl { grid-template-columns: 1fr; } .task dt { margin-top: .25rem; font-size: .85rem; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --wash: #f4f4f4; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  section, .summary { border: 0; padding: .5rem 0; } section { break-before: auto; }
  .filter, .skip { display: none; } .graph svg { width: 100%; } .scroll { overflow: visible; margin: 0; padding: 0; }
  thead th { position: static; } tr, .task { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
