"""Build the book: `python book/build.py [--workspace DIR]` writes `_build/html/index.html`.

The book shows each notebook as the last run left it in the workspace; where a notebook was not
run there, or failed, it shows the committed copy. Pages and notebooks are first staged in
`_build/source`, where only what changed is replaced, so that a second build takes seconds.
Every warning is an error, and so is a page that is missing or empty.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import lxml.html
import yaml
from sphinx_external_toc.parsing import parse_toc_yaml

from elara.workspace import Workspace

_SUFFIXES = (".md", ".ipynb")
# A page with fewer words than this below its title is empty.
_LEAST_WORDS = 20
# What a workspace prints of itself: its path and where that came from.
_WORKSPACE = re.compile(r"^Workspace: .+( \(.+\))$", re.MULTILINE)
_REPOSITORY = re.compile(r"https://[\w.-]+(/[\w.-]+){2,}")
_NO_ICON = '<link rel="icon" href="data:," />\n'


class BookError(RuntimeError):
    """The book cannot be built as it should; the message names the page."""


def pages(project: Path) -> list[str]:
    """The pages that the table of contents names, without suffix, in its order.

    Args:
        project: folder with `_toc.yml`.

    Raises:
        BookError: a page has no source file.
    """
    named = list(parse_toc_yaml(project / "_toc.yml"))
    for page in named:
        if not any((project / (page + suffix)).is_file() for suffix in _SUFFIXES):
            raise BookError(f"{page} is in _toc.yml but there is neither {page}.md nor .ipynb.")
    return named


def without_machine_paths(notebook: dict[str, Any]) -> dict[str, Any]:
    """Drop the workspace's path, which papermill was given and which a cell prints.

    Args:
        notebook: an executed notebook, as JSON. A cell that holds nothing else is dropped.
    """
    cells = []
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            lines = "".join(cell["source"]).splitlines()
            kept = [line for line in lines if not line.startswith("workspace =")]
            if not any(line and not line.startswith("#") for line in kept):
                continue
            cell = cell | {"source": "\n".join(kept)}
        for output in cell.get("outputs", []):
            if "text" in output:
                text = "".join(output["text"])
                output["text"] = _WORKSPACE.sub(r"Workspace: workspace\1", text)
        cells.append(cell)
    return notebook | {"cells": cells}


def failed(notebook: dict[str, Any]) -> bool:
    """Whether a cell of the notebook ended in an error."""
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    return any(out["output_type"] == "error" for out in outputs)


def notebook_text(committed: Path, executed: Path) -> str:
    """The notebook to show: the executed copy if it ran to its end, else the committed one."""
    if executed.is_file():
        notebook = json.loads(executed.read_text(encoding="utf-8"))
        if not failed(notebook):
            return json.dumps(without_machine_paths(notebook), indent=1, ensure_ascii=False)
        print(f"{committed.name}: the last run failed; the book shows the committed copy.")
    return committed.read_text(encoding="utf-8")


def repository(project: Path) -> str:
    """Where the project is published: `Repository` of `[project.urls]` in pyproject.toml, or "".

    Args:
        project: the checkout.

    Raises:
        BookError: it is no address of a repository.
    """
    content = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    url: str = content["project"].get("urls", {}).get("Repository", "").rstrip("/")
    if url and not _REPOSITORY.fullmatch(url):
        raise BookError(
            f"pyproject.toml, [project.urls]: Repository is {url!r}. Write an address such as "
            "https://github.com/OWNER/NAME, or leave it out."
        )
    return url


def configured(config: str, url: str) -> str:
    """The book's settings, with buttons that lead to a repository.

    Args:
        config: the text of `_config.yml`.
        url: as `repository` gives it. Without one there is nothing for a button to lead to.

    Source: https://sphinx-book-theme.readthedocs.io/en/stable/components/launch.html
    """
    if not url:
        return config
    settings = yaml.safe_load(config)
    options = settings["sphinx"]["config"]["html_theme_options"]
    options |= {"repository_url": url, "repository_branch": "main", "path_to_docs": ""}
    options |= {"use_repository_button": True, "use_issues_button": True}
    options["launch_buttons"] = {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
    }
    if url.startswith("https://github.com/"):  # Colab opens notebooks from nowhere else
        options["launch_buttons"]["colab_url"] = "https://colab.research.google.com"
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def stage(project: Path, workspace: Path, source: Path) -> None:
    """Bring `source` up to date, touching only what changed.

    Args:
        project: the checkout.
        workspace: folder whose `notebooks/` holds the executed copies.
        source: the folder that Sphinx reads.

    Raises:
        BookError: the project's repository is no address.
    """
    config = (project / "_config.yml").read_text(encoding="utf-8")
    files = {
        "_config.yml": configured(config, repository(project)).encode(),
        "_toc.yml": (project / "_toc.yml").read_bytes(),
    }
    for path in sorted(p for p in (project / "book").rglob("*") if p.is_file()):
        if "__pycache__" not in path.parts:
            files[path.relative_to(project).as_posix()] = path.read_bytes()
    read = ("benchmarks/*.json", "benchmarks/gpu_model.py", "notebooks/profiles/*.yaml")
    for path in sorted(path for pattern in read for path in project.glob(pattern)):  # by extensions
        files[path.relative_to(project).as_posix()] = path.read_bytes()
    for path in sorted((project / "notebooks").glob("*.ipynb")):
        text = notebook_text(path, workspace / "notebooks" / path.name)
        files[f"notebooks/{path.name}"] = text.encode()

    for path in [p for p in source.rglob("*") if p.is_file()]:
        if path.relative_to(source).as_posix() not in files:
            path.unlink()
    changed = {n for n, content in files.items() if not _holds(source / n, content)}
    notebooks = [name for name in changed if name.endswith(".ipynb")]
    for name in notebooks:  # else a number that it no longer publishes would still be found
        kept = source.parent / "jupyter_execute" / Path(name).with_suffix(".glue.json")
        kept.unlink(missing_ok=True)
    if notebooks:
        # Sphinx does not know that these pages quote numbers of a notebook: write them again.
        changed |= {n for n, content in files.items() if n.endswith(".md") and b"{glue" in content}
    for name in changed:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(files[name])


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def run_sphinx(project: Path, build: Path) -> None:
    """Run jupyter-book over the staged sources; print its warnings and errors only.

    Raises:
        BookError: it warned or failed.
    """
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(build / "source"), "--path-output", str(project), "-W", "-n", "--keep-going"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    # Plain lines that name the files one edits, not their staged copies.
    problems = re.sub(r"\x1b\[[\d;]*m", "", done.stderr).replace(f"{build / 'source'}/", "")
    print(problems, end="", file=sys.stderr)
    if done.returncode:
        # Sphinx reports a page's warnings only when it reads the page: read all again next time.
        shutil.rmtree(build / ".doctrees", ignore_errors=True)
        if not problems.strip():
            print(done.stdout[-3000:], file=sys.stderr)
        raise BookError("jupyter-book reported the problems above.")


def without_icon(start: Path) -> None:
    """Give the start page, which only sends the reader on, an empty icon.

    Jupyter Book writes it without any; a browser then asks the server for `/favicon.ico`, which is
    not there.

    Args:
        start: the built `index.html`.
    """
    text = start.read_text(encoding="utf-8")
    if _NO_ICON not in text:
        start.write_text(_NO_ICON + text, encoding="utf-8")


def check(html: Path, named: list[str]) -> None:
    """Make sure that every page was built and says something; remove pages of earlier builds.

    Args:
        html: the built folder.
        named: the pages of the table of contents.

    Raises:
        BookError: a page is missing, has no title or is empty.
    """
    expected = {html / f"{page}.html" for page in named}
    for path in {p for folder in ("book", "notebooks") for p in (html / folder).rglob("*.html")}:
        if path not in expected:
            path.unlink()
    for path in sorted(expected | {html / "index.html"}):
        if not path.is_file() or not path.stat().st_size:
            raise BookError(f"{path} was not built.")
    for path in sorted(expected):
        article = lxml.html.parse(str(path)).find(".//article")
        title = article.findtext(".//h1") if article is not None else None
        if article is None or not title or not title.strip():
            raise BookError(f"{path} has no title.")
        words = len(article.text_content().split()) - len(title.split())
        if words < _LEAST_WORDS:
            raise BookError(f"{path} is empty: {words} words below its title.")


def build(project: Path, workspace: Path) -> Path:
    """Build the book.

    Args:
        project: the checkout.
        workspace: folder whose `notebooks/` holds the executed copies.

    Returns:
        The start page.

    Raises:
        BookError: a page is missing or empty, or jupyter-book warned.
    """
    folder = project / "_build"
    named = pages(project)
    stage(project, workspace, folder / "source")
    run_sphinx(project, folder)
    without_icon(folder / "html" / "index.html")
    check(folder / "html", named)
    return folder / "html" / "index.html"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the book into _build/html.")
    parser.add_argument("--workspace", default="", help="folder of the run whose notebooks to show")
    root = Workspace(parser.parse_args().workspace).root
    started = time.monotonic()
    try:
        index = build(Path(__file__).resolve().parents[1], root)
    except BookError as error:
        print(f"The book was not built: {error}", file=sys.stderr)
        return 1
    print(f"Book: {index} ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
