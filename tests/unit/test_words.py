"""Pages and code in plain words: short sentences, short lines, links that lead somewhere, and no words to decode."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from inspect import cleandoc
from itertools import chain

from tools.local.local_stack import ROOT

CLEAN = (
    "template.yaml",
    *("README.md", "events/README.md", "docs/**/*.md", ".github/**/*.md"),
    *("src/**/*.py", "tools/**/*.py", "tests/**/*.py"),
)
OWN = "tests/unit/test_words.py"
OLD = (
    r"(?-i:(is|are|was|were) none)|none of|in vain|nought|lest|somebody|nobody|whoever|whatever|whichever"
    r"|mend(s|ed|ing)?|seen to|work(s|ed|ing)? off|to be had|(lie|lies|lay|lying) ahead|dead owners?|ma(de|kes?) way"
    r"|in good time|but for|left alone|mid-call|heal(s|ed|ing|(?![()]))|last words|given up"
)
OLD_WORD = re.compile(rf"\b({OLD})\b", re.IGNORECASE)
WORDS, COLONS, COLUMNS = 20, 1, 120
NAME_WORDS = 10
"""In the name of a test, without `test` itself."""
FILES = {path.relative_to(ROOT).as_posix() for pattern in CLEAN for path in ROOT.glob(pattern)}
PATHS = sorted(path for path in FILES if path != OWN)
PAGES = [path for path in PATHS if path.endswith(".md")]
CODE = [path for path in PATHS if path.endswith(".py")]
TESTS = sorted(path for path in FILES if path.startswith("tests/") and path != "tests/unit/test_contact.py")
SECTION = re.compile(r"^(Args|Attributes|Raises):\n( .*\n|\n(?= ))+", re.MULTILINE)


@cache
def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def text(page: str) -> str:
    """Paragraphs and list items of a page: no blocks of code, tables and headings."""
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^(\||#|\[[^]]*\]: ).*$", "", page, flags=re.MULTILINE)


def sentences(page: str) -> Iterator[str]:
    """A sentence ends with a stop, or with its paragraph or list item. A span of code is one word, an address none."""
    prose = re.sub(r"\]\([^)]*\)", "]", re.sub(r"``[^`\n]+``|`[^`\n]+`", "`code`", text(page)))
    for paragraph in re.split(r"\n\s*\n|^ *(?:[-*]|\d+\.) ", prose, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?])[)\"*]* +", " ".join(paragraph.split()))


def complaints(page: str) -> list[str]:
    """The sentences and lines of a page that are too long."""
    return [*long_sentences(page), *(line for line in text(page).splitlines() if len(line) > COLUMNS)]


def long_sentences(page: str) -> list[str]:
    return [one for one in sentences(page) if len(one.split()) > WORDS or len(re.findall(r":(?!\S)", one)) > COLONS]


def docstrings(source: str) -> Iterator[str]:
    """The docstrings in a module, as pages. An entry of a section is a list item; an indented drawing is left out."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str(value))):
                listed = SECTION.sub(lambda section: items(section[0]), f"{cleandoc(value)}\n")
                yield re.sub(r"^ {4}.*$", "", listed, flags=re.MULTILINE)


def items(section: str) -> str:
    return re.sub(r"^ {4}(?! )[\w, ]+: ", "- ", section, flags=re.MULTILINE).replace("\n        ", "\n  ")


def comments(source: str) -> Iterator[str]:
    """The comments in a module, without the names of linters' rules. Lines below one another are one comment."""
    comment, last = "", 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            words = re.sub(r"^# (noqa: [A-Z0-9, ]+( - )?)?|  # noqa.*$", "", token.string)
            follows = token.start[0] == last + 1 and token.line.lstrip().startswith("#")
            if not follows:
                yield comment
            comment, last = f"{comment}\n{words}" if follows else words, token.start[0]
    yield comment


def texts(template: str) -> Iterator[str]:
    """The comments and descriptions in the template, each on one line."""
    for comment in re.finditer(r"(^ *#.*\n)+", template, re.MULTILINE):
        yield " ".join(re.sub(r"^ *# ?(-{9}.*)?", "", comment[0], flags=re.MULTILINE).split())
    for value in re.finditer(r"^( *)\w*Description: (?:!Sub )?(?:>-((?:\n\1  .*)+)|(.*))", template, re.MULTILINE):
        yield " ".join((value[2] or value[3]).split())


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def found_in(paths: Iterable[str], find: Callable[[str], Iterable[object]]) -> dict[str, list[object]]:
    """What there is to complain of in files, by path. One test for all: pytest takes longer for a test than this."""
    return {path: found for path in paths if (found := list(find(read(path))))}


def test_no_old_word_is_back() -> None:
    assert found_in(PATHS, lambda page: (word[0] for word in OLD_WORD.finditer(page))) == {}


def test_sentences_and_lines_are_short() -> None:
    assert found_in(PAGES, complaints) == {}


def test_sentences_of_docstrings_and_comments_are_short() -> None:
    def long(code: str) -> Iterator[str]:
        return (one for part in chain(docstrings(code), comments(code)) for one in complaints(part))

    assert found_in(CODE, long) == {}


def test_sentences_of_the_template_are_short() -> None:
    assert [long for part in texts(read("template.yaml")) for long in long_sentences(part)] == []


def test_names_of_tests_are_short_and_plain() -> None:
    def bad(code: str) -> Iterator[Sequence[str]]:
        names = (name.split("_") for name in re.findall(r"^ *def test_(\w+)", code, re.MULTILINE))
        return (words for words in names if len(words) > NAME_WORDS or OLD_WORD.search(" ".join(words)))

    assert found_in(TESTS, bad) == {}


def test_links_lead_somewhere() -> None:
    for path in PAGES:
        for address in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(path)):
            name, _, heading = address.partition("#")
            target = (ROOT / path).parent / name if name else ROOT / path
            assert target.exists(), (path, address)
            assert not heading or heading in anchors(target.read_text(encoding="utf-8")), (path, address)


def test_a_long_sentence_is_found_and_code_is_not() -> None:
    old = "Salesforce's endpoint for this has a sharp edge: a second call overwrites hold and talk times,\n"
    old += "and it cannot be asked what became of the first.\n"
    assert complaints(f"# A heading: a colon: another\n\n{old}") == [" ".join(old.split())]
    assert complaints(f"```sh\n{old * 3}```\n\n| {' '.join(old.split())} |\n\nA short one. Another one.\n") == []


def test_a_long_sentence_in_code_is_found() -> None:
    old = "this is one of those sentences that go on and on, with another thought in each part of it, until the end."
    page = f'"""Short.\n\n    {old} {old}\n\nArgs:\n    one, two: Short: yes.\n    three: {old}\n"""\n'
    code = f'{page}X = 1  # noqa: E501 - {old}\n"""{old}"""\n# {old[:49]}\n# {old[50:]}\n'
    assert [long for part in docstrings(code) for long in complaints(part)] == [old, old]
    assert [long for part in comments(code) for long in complaints(part)] == [old, old]
