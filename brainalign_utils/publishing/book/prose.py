"""No typed-in results: numerals in the prose of result pages must be constants that a rule names.

Results reach prose as substitutions (:mod:`.numbers`).  ``book/constants.yml`` lists
what may stand there as a numeral, and why it cannot be a result.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import yaml

_DIGITS = r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
NUMERAL = re.compile(rf"(?<![\w.\-])[-+−]?{_DIGITS}(?:\s?%)?(?!\w)")
_SKIPPED = (
    r"^(?:```|:::+|~~~).*$",  # fences of directives and their arguments
    r"^:[\w-]+:.*$",  # options of directives
    r"`[^`]*`",  # code, roles and their targets
    r"\$\$(?s:.*?)\$\$|\$[^$\n]+\$",  # equations
    r"\{\{.*?\}\}",  # substitutions
    r"\]\([^)]*\)",  # targets of links
    r"<[^>\s]+>",  # addresses and tags
    r"^\([\w-]+\)=$",  # labels
    r"^\s*\d+\. ",  # numbers of lists
)


@dataclass(frozen=True)
class Typed:
    """A numeral in prose that no rule allows."""

    page: str
    text: str
    line: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text!r} in {self.line.strip()!r}"


def load_rules(file: Path) -> list[re.Pattern]:
    """Patterns of allowed constants.

    Raises
    ------
    ValueError
        When a rule gives no reason.
    """
    rules = yaml.safe_load(file.read_text())
    for rule in rules:
        if not rule.get("pattern") or not rule.get("why"):
            raise ValueError(f"rule {rule} of {file.name} needs a pattern and a why")
    return [re.compile(rule["pattern"]) for rule in rules]


def typed_numbers(text: str, rules, page: str = "") -> list[Typed]:
    """Numerals of Markdown prose that no rule covers.

    Parameters
    ----------
    text : str
        Markdown; code, equations, links and substitutions are not prose.
    rules : sequence of patterns
        A numeral that lies inside a match is allowed.
    """
    for pattern in _SKIPPED:
        text = re.sub(pattern, " ", text, flags=re.MULTILINE)
    found = []
    for line in text.splitlines():
        allowed = [match.span() for rule in rules for match in rule.finditer(line)]
        for numeral in NUMERAL.finditer(line):
            start, end = numeral.span()
            if not any(low <= start and end <= high for low, high in allowed):
                found.append(Typed(page, numeral.group().strip(), line))
    return found


def notebook_prose(notebook) -> str:
    """Text cells of a notebook, and the captions of its figures without their computed parts."""
    cells = notebook.cells
    captions = [text for c in cells if c.cell_type == "code" for text in _captions(c.source)]
    return "\n\n".join([*(c.source for c in cells if c.cell_type == "markdown"), *captions])


def _captions(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.keyword) and node.arg == "caption":
            strings = [n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
            formats = re.compile(r"\.\d\w")  # of computed numbers, not text
            yield " ".join(s for s in strings if isinstance(s, str) and not formats.fullmatch(s))


def check_prose(root: Path) -> list[Typed]:
    """Typed-in numbers of the notebooks and of the pages that tell results."""
    rules = load_rules(root / "book" / "constants.yml")
    found = []
    for path in sorted((root / "notebooks").glob("*.py")):
        found += typed_numbers(notebook_prose(jupytext.read(path)), rules, f"notebooks/{path.name}")
    for path in [root / "book" / "index.md", *sorted((root / "book").glob("answer-*.md"))]:
        found += typed_numbers(path.read_text(), rules, f"book/{path.name}")
    return found
