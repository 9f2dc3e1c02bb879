"""The book's sources: every page is there, and every notebook follows the house style."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sphinx_external_toc.parsing import parse_toc_yaml

PROJECT = Path(__file__).resolve().parents[2]
STAGES = ("collect", "inspect", "clean", "expand", "train", "evaluate", "serve")
NOTEBOOKS = [PROJECT / "notebooks" / f"{i:02}-{name}.ipynb" for i, name in enumerate(STAGES, 1)]
NOTEBOOKS += [
    PROJECT / "notebooks" / f"{name}.ipynb"
    for name in ("A-passport-and-export", "B-continual-learning")
]
# Folders that only exist on the machine where a notebook was run.
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|work|Users|mnt|private)/\w|[A-Z]:\\\\")
MOST_LINES = 15
MEDIAN_LINES = 6
LEAST_PROSE = 8
GUARD = """\
# Google Colab only: install the project from a checkout at /content/elara.
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("elara") is None:
    subprocess.check_call(["bash", "/content/elara/.binder/colab.sh"])"""


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def lines(cell: dict[str, Any]) -> list[str]:
    """Lines of code: neither empty nor only a comment."""
    return [s for line in text(cell).splitlines() if (s := line.strip()) and s[0] != "#"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A committed notebook, as JSON."""
    path: Path = request.param
    assert path.is_file(), f"{path} is missing"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in notebook["cells"] if c["cell_type"] == "code"]


def body(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Code cells apart from the Colab guard, which is the same everywhere."""
    return [c for c in code(notebook) if "colab" not in tags(c)]


def test_every_page_of_the_toc_exists() -> None:
    named = list(parse_toc_yaml(PROJECT / "_toc.yml"))
    missing = [
        p for p in named if not any((PROJECT / f"{p}{s}").is_file() for s in (".md", ".ipynb"))
    ]
    assert missing == []
    assert [p for p in named if p.startswith("notebooks/")] == [
        f"notebooks/{path.stem}" for path in NOTEBOOKS
    ]


def test_every_page_is_in_the_toc() -> None:
    named = set(parse_toc_yaml(PROJECT / "_toc.yml"))
    written = {
        p.relative_to(PROJECT).with_suffix("").as_posix()
        for p in [*(PROJECT / "book").rglob("*.md"), *(PROJECT / "notebooks").glob("*.ipynb")]
    }
    assert written - named == set()


def test_every_quoted_number_is_published() -> None:
    """The build says so too; here it takes a moment only."""
    missing = []
    for page in (PROJECT / "book").rglob("*.md"):
        quoted = re.findall(
            r"\{glue:text\}`/notebooks/(\S+?\.ipynb)::([\w.]+):", page.read_text(encoding="utf-8")
        )
        for name, key in quoted:
            outputs = [
                out.get("metadata", {}).get("scrapbook", {}).get("name", "")
                for cell in code(json.loads((PROJECT / "notebooks" / name).read_text()))
                for out in cell["outputs"]
            ]
            if not any(found.endswith(key) for found in outputs):
                missing.append(f"{page.name} quotes {key}, which {name} does not publish")
    assert missing == []


def test_cells_are_identified_and_the_kernel_is_plain(notebook: dict[str, Any]) -> None:
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    spec = notebook["metadata"]["kernelspec"]
    assert spec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}, "metadata not cleaned"


def test_it_opens_with_title_guard_and_parameters(notebook: dict[str, Any]) -> None:
    assert re.match(
        r"# (?:[1-7]\. [A-Z]\w+|[A-Z]\. [A-Z][\w ]+)\n", text(notebook["cells"][0]) + "\n"
    )
    guard, parameters = code(notebook)[:2]
    assert text(guard).strip() == GUARD
    assert tags(guard) == ["colab", "remove-cell"]
    assert tags(parameters) == ["parameters"]
    assert sum("parameters" in tags(c) for c in code(notebook)) == 1


def test_parameters_are_literals_with_type_and_comment(notebook: dict[str, Any]) -> None:
    cell = next(c for c in code(notebook) if "parameters" in tags(c))
    tree = ast.parse(text(cell))
    rows = text(cell).splitlines()
    assert isinstance(tree.body[0], ast.AnnAssign)
    assert ast.unparse(tree.body[0].target) == "workspace"
    for node in tree.body:
        assert isinstance(node, ast.AnnAssign), f"no type: {ast.unparse(node)}"
        assert node.value is not None
        ast.literal_eval(node.value)
        assert "  # " in rows[node.lineno - 1], f"no comment: {ast.unparse(node)}"


def test_it_has_the_sections_of_the_house(notebook: dict[str, Any]) -> None:
    prose = "\n".join(text(c) for c in notebook["cells"] if c["cell_type"] == "markdown")
    for part in ("What you will learn", "Prerequisites", "Time and hardware"):
        assert f"**{part}" in prose or f"# {part}" in prose, f"{part} is missing"
    for heading in ("Summary", "Exercises", "What's next", "References"):
        assert re.search(rf"^## {heading}", prose.replace("’", "'"), re.M), f"{heading} is missing"


def test_outputs_are_whole_and_from_one_run(notebook: dict[str, Any]) -> None:
    assert [c["execution_count"] for c in code(notebook)] == [*range(1, len(code(notebook)) + 1)], (
        "execution counts are not 1…N: run the notebook from the top"
    )
    outputs = [out for cell in code(notebook) for out in cell["outputs"]]
    assert outputs
    assert [out for out in outputs if out["output_type"] == "error"] == []
    assert "injected-parameters" not in {tag for cell in code(notebook) for tag in tags(cell)}


def test_outputs_name_no_machine(notebook: dict[str, Any]) -> None:
    readable = []
    for out in [out for cell in code(notebook) for out in cell["outputs"]]:
        data = {k: v for k, v in out.get("data", {}).items() if not k.startswith("image/png")}
        readable.append(json.dumps([out.get("text", ""), data]))
    found = [line for line in readable if MACHINE_PATH.search(line)]
    assert found == []


def test_cells_are_short_and_explained(notebook: dict[str, Any]) -> None:
    sizes = [len(lines(c)) for c in body(notebook)]
    # The parameters are a list, one a line, each explained where it stands.
    assert max(len(lines(c)) for c in body(notebook) if "parameters" not in tags(c)) <= MOST_LINES
    assert statistics.median(sizes) <= MEDIAN_LINES
    prose = " ".join(text(c) for c in notebook["cells"] if c["cell_type"] == "markdown")
    words = len(re.findall(r"[^\W\d_]{2,}", prose))
    assert words >= LEAST_PROSE * sum(sizes), f"{words} words for {sum(sizes)} lines of code"


def test_every_figure_has_a_text_alternative(notebook: dict[str, Any]) -> None:
    for cell in code(notebook):
        shown = [
            out
            for out in cell["outputs"]
            if out["output_type"] in ("display_data", "execute_result")
            and any(mime.startswith("image/") for mime in out["data"])
        ]
        if shown:
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 4, f"cell {cell['id']!r}: its figure has no alt text"


def test_prose_is_markdown_that_every_viewer_shows(notebook: dict[str, Any]) -> None:
    """JupyterLab, GitHub, VS Code and Colab know no directive and no role of MyST."""
    only_myst = re.compile(r"^\s*(:::|```\{|~~~\{)|\{[\w:-]+\}`|\[\]\(|^\([\w-]+\)=$", re.M)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            prose = re.sub(r"```.*?```|`[^`]*`(?!`)", "``", text(cell), flags=re.S)
            assert not only_myst.findall(prose), f"cell {cell['id']!r}: {text(cell)[:80]}"
            assert prose.count("<details>") == prose.count("</details>") == prose.count("<summary>")
            # Without the empty lines, what is inside is not read as Markdown.
            assert all(s.startswith("\n\n") for s in prose.split("</summary>")[1:])
            assert all(s.endswith("\n\n") for s in prose.split("</details>")[:-1])


def test_every_link_of_a_notebook_leads_somewhere(notebook: dict[str, Any]) -> None:
    """To a page of the book, to another notebook, or to a work in the list of references."""
    works = (PROJECT / "book" / "references.bib").read_text(encoding="utf-8")
    known = set(re.findall(r"url\s*= \{(\S+)\}", works))
    known |= {f"https://doi.org/{doi}" for doi in re.findall(r"doi\s*= \{(\S+)\}", works)}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)\s]+)\)", text(cell)):
                if "://" in target:
                    assert target in known, f"{target} is not in references.bib"
                else:
                    assert (PROJECT / "notebooks" / target).is_file(), f"{target} does not exist"


def test_the_cell_to_edit_is_marked(notebook: dict[str, Any]) -> None:
    number = next(i for i, c in enumerate(notebook["cells"]) if "parameters" in tags(c))
    assert "**Settings.** The next cell is the one to edit" in text(notebook["cells"][number - 1])


def test_every_figure_has_a_caption(notebook: dict[str, Any]) -> None:
    number = re.match(r"# (\w)\.", text(notebook["cells"][0]))
    assert number
    captions = []
    for cell, following in itertools.pairwise(notebook["cells"]):
        if cell["metadata"].get("mystnb", {}).get("image"):
            captions.append(text(following).partition(" ")[2].partition("**")[0])
            assert text(following).startswith("**Figure "), f"cell {cell['id']!r} has no caption"
    assert captions == [f"{number[1]}.{i}." for i in range(1, len(captions) + 1)]


def test_tables_are_shown_through_the_one_helper(notebook: dict[str, Any]) -> None:
    for cell in code(notebook):
        assert "pl.Config" not in text(cell)
        for out in cell["outputs"]:
            html = "".join(out.get("data", {}).get("text/html", ""))
            assert 'class="dataframe"' not in html, f"cell {cell['id']!r}: use show"


# --- the build itself, on a book of two pages ---


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project of its own: the real build script and configuration, two pages, one notebook."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "book" / "_static", project / "book" / "_static")
    shutil.copytree(PROJECT / "book" / "_ext", project / "book" / "_ext")
    for name in ("_config.yml", "pyproject.toml", "book/build.py", "book/references.bib"):
        shutil.copy(PROJECT / name, project / name)
    toc = "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/01-collect\n"
    (project / "_toc.yml").write_text(toc)
    quote = "{glue:text}`/notebooks/01-collect.ipynb::collect.articles:,d`"
    (project / "book" / "intro.md").write_text(f"# Hello\n\nIt has {quote} pages. {'word ' * 20}\n")
    (project / "notebooks").mkdir()
    write_notebook(project / "notebooks" / "01-collect.ipynb", 1234)
    return project


def write_notebook(path: Path, value: int, *, injected: str = "", error: bool = False) -> None:
    """A notebook as papermill leaves it, which publishes one number."""
    prefix = "application/papermill.record/"
    glued: dict[str, Any] = {
        "output_type": "display_data",
        "data": {f"{prefix}text/plain": str(value)},
        "metadata": {"scrapbook": {"name": "collect.articles", "mime_prefix": prefix}},
    }
    said = ["Workspace: /somewhere/private (from ELARA_WORKSPACE)\n", "elara 0.1.0\n"]
    printed = {"output_type": "stream", "name": "stdout", "text": said}
    failure = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    cells: list[dict[str, Any]] = [
        {"id": "a", "cell_type": "markdown", "metadata": {}, "source": "# 1. C\n\n" + "word " * 30},
        {"id": "b", "cell_type": "code", "source": injected, "outputs": []},
        {"id": "c", "cell_type": "code", "source": "x = 1", "outputs": [printed, glued]},
    ]
    cells[1] |= {"execution_count": 1, "metadata": {"tags": ["injected-parameters"]}}
    cells[2] |= {"execution_count": 2, "metadata": {}}
    if error:
        cells[2]["outputs"].append(failure)
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": spec}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook | {"nbformat": 4, "nbformat_minor": 5}))


def build(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "book/build.py", "--workspace", str(project.parent / "workspace")]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)


def test_the_book_follows_the_last_good_run_and_its_own_pages(small: Path) -> None:
    """Committed numbers first, then those of a run, and not those of a run that failed.

    Each build takes seconds, so on the way a page comes and goes, and in the end a number goes.
    """
    toc = (small / "_toc.yml").read_text()
    (small / "_toc.yml").write_text(toc + "- file: book/extra\n")
    (small / "book" / "extra.md").write_text("# Extra\n\n" + "word " * 30)
    extra = small / "_build" / "html" / "book" / "extra.html"
    intro = small / "_build" / "html" / "book" / "intro.html"
    chapter = small / "_build" / "html" / "notebooks" / "01-collect.html"
    executed = small.parent / "workspace" / "notebooks" / "01-collect.ipynb"

    done = build(small)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "1,234" in intro.read_text()
    assert (small / "_build" / "html" / "index.html").is_file()
    assert extra.is_file()

    (small / "_toc.yml").write_text(toc)
    (small / "book" / "extra.md").unlink()
    injected = '# Parameters\nworkspace = "/somewhere/private"\nlimit = 7\n'
    write_notebook(executed, 5678, injected=injected)
    done = build(small)
    assert done.returncode == 0, done.stderr
    assert not extra.exists()
    assert "5,678" in intro.read_text(), "a page that quotes a number was not written again"
    assert "/somewhere/private" not in chapter.read_text()
    assert "limit" in chapter.read_text()
    assert "Workspace: workspace (from ELARA_WORKSPACE)" in chapter.read_text()

    write_notebook(executed, 9999, error=True)
    done = build(small)
    assert done.returncode == 0, done.stderr
    assert "1,234" in intro.read_text()
    assert "the last run failed" in done.stdout

    committed = small / "notebooks" / "01-collect.ipynb"
    committed.write_text(committed.read_text().replace("collect.articles", "collect.renamed"))
    done = build(small)
    assert done.returncode == 1, "a number that is no longer published"
    assert "collect.articles" in done.stderr


def test_a_missing_page_fails_and_is_named(small: Path) -> None:
    with (small / "_toc.yml").open("a") as toc:
        toc.write("- file: book/absent\n")
    done = build(small)
    assert done.returncode == 1
    assert "book/absent" in done.stderr


def test_an_empty_page_fails_and_is_named(small: Path) -> None:
    with (small / "_toc.yml").open("a") as toc:
        toc.write("- file: book/hollow\n")
    (small / "book" / "hollow.md").write_text("# Hollow\n")
    done = build(small)
    assert done.returncode == 1
    assert "hollow.html is empty" in done.stderr


def test_a_number_that_nobody_published_fails_every_time(small: Path) -> None:
    page = small / "book" / "intro.md"
    page.write_text(page.read_text().replace("collect.articles", "collect.unheard"))
    for _ in range(2):  # the second build must not be fooled by what the first one kept
        done = build(small)
        assert done.returncode == 1
        assert "collect.unheard" in done.stderr
