"""The house rules that a reader relies on: sizes, names, and the map."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "aecompress").rglob("*.py"), *(ROOT / "tui").rglob("*.py")])
MOST_LINES, MOST_FUNCTION_LINES, MOST_POSITIONAL, MOST_MAP_ROWS = 450, 60, 6, 15
OLD_NAMES = re.compile(
    r"told|tell|said|asked|zeros_asked|hand_over|handed|Handed|handover|settle\w*|assembly|lasting|lasting_masks|glance|"
    r"Spread|idle|fires|chance|company|Company|meeting|everyone|all_at_once|one_after_the_other|nobody|send_back|joined|"
    r"wide|renew|through|next_of_two|done_with|give_way|Room|ROOM|room|rooms|MADE|BETWEEN|POLISH|POLISH_SHARE|polish|"
    r"better|"
    r"measure|Measured|score_measure|Foreign|foreign|taken_over|regrow"
)
"""Identifiers that the vocabulary replaced."""
OLD_WORDS = re.compile(
    r"\b(told|tells?|said|asked|asks for|hand(s|ed)? over|handed|handover|lasting|glance|idlest?|nobody|everyone|"
    r"company|polish(ed)?|taken over|goes on|go on|chance|measures?\b|measuring|is no folder|see to|ends nothing|"
    r"Names every random draw|left out: digits|The spec is sound|prune\.regrow\b)",
    re.IGNORECASE,
)
"""Words that the vocabulary replaced, wherever a person reads. A figure may be *measured*: that names no function."""
NO_VERBS = re.compile(
    "The|A|An|All|Any|Both|Each|Every|Its|No|None|One|Per|Some|This|Those|Two|What|When|Where|Whether|Which|Who|Why|How|"
    "For|From|In|Of|On|To|With|Entry|Index|Latent|Loss|Main|Mean|Number|Random|Raw|Share|Size|Uniform|Zero"
)
ALLOWED = {"archive.py": {"polish"}, "rows.py": {"measure"}, "CHANGELOG.md": {"prune.regrow"}}
"""Names of draws, on which the bits of a run depend; what a field was called before."""


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def identifiers(tree: ast.AST) -> set[str]:
    """Every name that a file gives or uses."""
    found = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found |= set(value.split("."))
    return found


def owned(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of a module, and methods of classes that inherit nothing: others may override what has its words."""
    found: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node)
        elif isinstance(node, ast.If | ast.Try) or (isinstance(node, ast.ClassDef) and plain(node)):
            found += owned(node)
    return found


def plain(node: ast.ClassDef) -> bool:
    return not node.bases and not node.name.startswith("_")


def begins_with_a_verb(text: str) -> bool:
    first = re.split(r"[\s,:;.]", text, maxsplit=1)[0]
    word = re.fullmatch(r"[A-Z][a-z]+(-[a-z]+)?", first) is not None
    return word and not NO_VERBS.fullmatch(first) and re.search(r"((?<!s)s|ed|[^r]ing)$", first) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_begins_with_a_verb(path: Path) -> None:
    for function in owned(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.get_docstring(function)
        assert text or function.name.startswith("_"), f"{function.name} has no docstring"
        assert text is None or begins_with_a_verb(text), f"{function.name}: {text}"


def test_verbs_are_told_from_other_words() -> None:
    assert begins_with_a_verb("Return it.") and begins_with_a_verb("Back-propagate.") and begins_with_a_verb("Pass on.")
    for text in ("The rows.", "Returns it.", "``PART``", "|w|.", "What is left.", "Sorted rows.", "Scaling of rows."):
        assert not begins_with_a_verb(text), text


def test_the_sweep_sees_the_house() -> None:
    assert len(FILES) > 120
    assert {path.parent.name for path in FILES} >= {"layers", "engines", "rules", "plan", "runs", "sources", "panes"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_keeps_to_the_sizes_and_the_vocabulary(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MOST_LINES
    for function in functions(tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= MOST_FUNCTION_LINES, f"{function.name} has {lines} lines"
        positional = [
            one.arg for one in function.args.posonlyargs + function.args.args if one.arg not in ("self", "cls")
        ]
        # A command's flags are its parameters, and typer gives them by name.
        if path.parent.name != "cli":
            assert len(positional) <= MOST_POSITIONAL, f"{function.name} has {len(positional)} positional parameters"
    old = sorted(name for name in identifiers(tree) if OLD_NAMES.fullmatch(name))
    assert not old
    words = {match.group(0) for match in OLD_WORDS.finditer(text)} - ALLOWED.get(path.name, set())
    assert not words


CARRIED_OUT = [path for path in (ROOT / "aecompress/runs").glob("*.py") if path.name not in ("inputs.py", "job.py")]


@pytest.mark.parametrize("path", CARRIED_OUT, ids=lambda path: path.name)
def test_configuration_ends_in_the_job_of_a_run(path: Path) -> None:
    assert "trip.py" in {each.name for each in CARRIED_OUT}
    read = [node.lineno for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if reads_a_spec(node)]
    assert not read, f"{path.name} reads fields of a spec in lines {read}; give the job what it needs"


def reads_a_spec(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "spec") or (
        isinstance(node, ast.Name) and node.id in ("spec", "RunSpec")
    )


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
READ = [
    *PAGES,
    ROOT / "Makefile",
    ROOT / "pyproject.toml",
    *(path for ending in ("toml", "py", "ipynb") for path in sorted((ROOT / "examples").rglob(f"*.{ending}"))),
    *(
        path
        for ending in ("md", "html")
        for place in ("aecompress", "tui")
        for path in sorted((ROOT / place).rglob(f"*.{ending}"))
    ),
]
"""Pages, examples and templates: all that a person reads beside the code."""


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_speaks_the_vocabulary(path: Path) -> None:
    words = {match.group(0) for match in OLD_WORDS.finditer(path.read_text(encoding="utf-8"))}
    assert not sorted(words - ALLOWED.get(path.name, set()))


def test_the_sweep_of_pages_sees_examples_and_templates() -> None:
    assert {path.name for path in READ} >= {
        "rules.toml",
        "python_api.py",
        "notebook.ipynb",
        "card.md",
        "report.html",
        "app_index.html",
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_links_to_exists(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


def test_the_map_in_the_readme_is_short_and_its_places_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Map")[2].partition("\n## ")[0]
    rows = section.partition("```")[2].partition("```")[0].strip().splitlines()
    assert 5 < len(rows) <= MOST_MAP_ROWS
    for row in rows:
        place = row.split()[0]
        assert (ROOT / place).exists(), place
