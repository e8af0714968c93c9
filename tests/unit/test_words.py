"""The pages in plain words: short sentences, short lines, links that lead somewhere, and no words to decode."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.local.stack import ROOT

# The files whose words are clean. Add src/**/*.py, tests/**/*.py and template.yaml when theirs are.
CLEAN = ("README.md", "events/README.md", "docs/**/*.md", ".github/**/*.md")
OLD = (
    r"(?-i:(is|are|was|were) none)|none of|in vain|nought|lest|somebody|nobody|whoever|whatever|whichever"
    r"|mend(s|ed|ing)?|seen to|work(s|ed|ing)? off|to be had|(lie|lies|lay|lying) ahead|dead owners?|ma(de|kes?) way"
    r"|in good time|but for|left alone|mid-call|heal(s|ed|ing)?|last words|given up"
)
WORDS, COLONS, COLUMNS = 20, 1, 120
FILES = {path for pattern in CLEAN for path in ROOT.glob(pattern)} - {Path(__file__)}
PATHS = sorted(str(path.relative_to(ROOT)) for path in FILES)
PAGES = [path for path in PATHS if path.endswith(".md")]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def text(page: str) -> str:
    """Paragraphs and list items of a page: no blocks of code, tables and headings."""
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^(\||#|\[[^]]*\]: ).*$", "", page, flags=re.MULTILINE)


def sentences(page: str) -> Iterator[str]:
    """A sentence ends with a stop, or with its paragraph or list item. A span of code is one word, an address none."""
    prose = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`\n]+`", "`code`", text(page)))
    for paragraph in re.split(r"\n\s*\n|^ *(?:[-*]|\d+\.) ", prose, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?])[)\"*]* +", " ".join(paragraph.split()))


def complaints(page: str) -> list[str]:
    """The sentences and lines of a page that are too long."""
    long = [one for one in sentences(page) if len(one.split()) > WORDS or one.count(":") > COLONS]
    return long + [line for line in text(page).splitlines() if len(line) > COLUMNS]


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PATHS)
def test_no_old_word_is_back(path: str) -> None:
    assert [found[0] for found in re.finditer(rf"\b({OLD})\b", read(path), re.IGNORECASE)] == []


@pytest.mark.parametrize("path", PAGES)
def test_sentences_and_lines_are_short(path: str) -> None:
    assert complaints(read(path)) == []


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path: str) -> None:
    for address in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(path)):
        name, _, heading = address.partition("#")
        target = (ROOT / path).parent / name if name else ROOT / path
        assert target.exists(), address
        assert not heading or heading in anchors(target.read_text(encoding="utf-8")), address


def test_a_long_sentence_is_found_and_code_is_not() -> None:
    old = "Salesforce's endpoint for this has a sharp edge: a second call overwrites hold and talk times,\n"
    old += "and it cannot be asked what became of the first.\n"
    assert complaints(f"# A heading: a colon: another\n\n{old}") == [" ".join(old.split())]
    assert complaints(f"```sh\n{old * 3}```\n\n| {' '.join(old.split())} |\n\nA short one. Another one.\n") == []
