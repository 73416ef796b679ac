# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README, CONTRIBUTING and docs/ name is there: pages, headings, targets, variables, playbooks, modules."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FRONT = (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
PAGES = (*FRONT, *sorted(DOCS.glob("*.md")))

#: Folders of the checkout that hold nothing of the repository.
MADE = re.compile(r"(\..*|build|output|__pycache__)\Z")
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGE_NAME = re.compile(r"\bdocs/([\w-]+\.md)")
TARGET = re.compile(r"`make ([a-z0-9-]+)`|^(?:\$ )?make ([a-z0-9-]+)", re.MULTILINE)
#: A name that goes on with a placeholder, as that of a group does, stands for many and is passed over.
VARIABLE = re.compile(r"(?<!\w)tls_[a-z0-9_]*[a-z0-9](?![\w<])")
GIVEN = re.compile(r"-e ['{\"]*(tls_[a-z0-9_]+)")
OURS = re.compile(r"\bconnsec\.tls\.([a-z_]+)")
PLAYED = re.compile(r"\bansible-playbook\b.*?\bconnsec\.tls\.([a-z_]+)")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def repository_texts() -> t.Iterator[tuple[Path, str]]:
    """Yield the text files of the repository."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not MADE.match(name)]
        for name in names:
            path = Path(folder, name)
            if path.suffix in (".cfg", ".java", ".md", ".py", ".sh", ".toml", ".txt", ".yml", "") and path.is_file():
                yield path, path.read_text(encoding="utf-8", errors="replace")


def names_in(folder: str, pattern: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob(pattern) if not path.stem.startswith("_")}


PLAYBOOKS = names_in("playbooks", "*.yml")
MODULES = names_in("plugins/modules", "*.py")
KNOWN = PLAYBOOKS | MODULES | names_in("plugins/inventory", "*.py") | names_in("roles", "*")


def anchors(path: Path) -> set[str]:
    """Return what a link may have after its hash: the headings, as web pages of repositories call them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_that_is_named_anywhere_exists() -> None:
    missing = [
        "%s names docs/%s" % (named(path), page)
        for path, text in repository_texts()
        for page in PAGE_NAME.findall(text)
        if not (DOCS / page).is_file()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    dead = []
    for link in LINK.findall(FENCED.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _unused, anchor = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.is_file() or (anchor and anchor not in anchors(path)):
            dead.append(link)
    assert dead == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [FRONT[0]]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(page))}
        waiting += sorted({link for link in links if link in PAGES} - reached)
    assert sorted(map(named, set(PAGES) - reached)) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    asked = {one or other for one, other in TARGET.findall(text_of(page))}
    assert sorted(asked - targets) == []


def test_every_variable_that_is_named_occurs_in_code() -> None:
    code = "\n".join(text_of(path) for name in ("plugins", "roles", "playbooks") for path in sources(ROOT / name))
    known = set(re.findall(r"(?<![A-Za-z0-9])tls_[a-z0-9_]+", code))
    unknown = [
        "%s names %s" % (named(page), name) for page in PAGES for name in sorted(variables(page)) if name not in known
    ]
    assert unknown == []


def sources(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".yml")]


def variables(page: Path) -> set[str]:
    """Return the variables that a page names in backticks, or gives to a command."""
    text = text_of(page)
    spans = " ".join(INLINE.findall(FENCED.sub("", text)))
    return set(VARIABLE.findall(spans)) | set(GIVEN.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_playbook_module_and_role_that_is_named_exists(page: Path) -> None:
    text = text_of(page)
    assert sorted(set(OURS.findall(text)) - KNOWN) == []
    assert sorted(set(PLAYED.findall(text)) - PLAYBOOKS) == []


def test_every_playbook_has_a_page_of_its_own() -> None:
    assert sorted(name for name in PLAYBOOKS - {"engine"} if not (DOCS / ("task_%s.md" % name)).is_file()) == []


def test_every_module_is_told_of_on_some_page() -> None:
    told = {name for page in PAGES for name in OURS.findall(text_of(page))} | {"plan", "report", "round", "step"}
    assert sorted(MODULES - told) == []
