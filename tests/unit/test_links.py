"""Every relative link of every Markdown file leads to a file, and every anchor to a heading of it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(
    r"\]\((?!https?:|mailto:)([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)|(?:src|srcset|href)=\"(?!https?:)([^\"]+)\""
)


def markdown_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split()]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub makes of a file's headings."""
    found: Counter[str] = Counter()
    result = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        result.add(name if not found[name] else f"{name}-{found[name]}")
        found[name] += 1
    return frozenset(result)


def broken_links(path: Path) -> list[str]:
    broken = []
    for match in LINK.finditer(without_code(path.read_text(encoding="utf-8"))):
        link = match[1] or match[2] or ""
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", markdown_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert not broken_links(path)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`: *three*\n[a](#one-two-three) [b](#nowhere) [c](gone.md) [d](page.md#one-two-three)\n")
    assert broken_links(page) == ["#nowhere", "gone.md"]


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name}" in index, page
