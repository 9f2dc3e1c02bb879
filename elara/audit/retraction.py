"""Retract articles: find all that descends from them, and mark the adapters and exports among it.

Nothing is deleted. Inspect reads the list that is kept here, so the next `elara run` builds
everything anew without these articles.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.page import passport_html
from elara.audit.passport import MANIFEST_FILE, read_manifest
from elara.audit.tracing import SPLITS
from elara.audit.verify import PASSPORT_FILE, PROBE_FILE
from elara.model import TRAINING_FILE
from elara.workspace import Workspace, file_sha256, write_atomically, writing_to
from elara.workspace import retractions as lists
from elara.workspace.formats import WITHDRAWN, WITHDRAWN_PAGE, json_text, seal_sha256

# An example, and an article that it was built from.
_PAIRS = {"id": pl.String, "article": pl.String}


@dataclass(frozen=True)
class Retraction:
    """What descends from the articles that a workspace's list of retractions names.

    Args:
        articles: `id` and `title`, and the reason, source and date of the list.
        examples: `id`, `article` and `split` of the examples that were built from them.
        marks: the adapters and exports, and why each is withdrawn; {} where it is not.
        remarks: what else there is to know, a line each.
    """

    articles: pl.DataFrame
    examples: pl.DataFrame
    marks: dict[Path, dict[str, Any]]
    remarks: list[str]

    def lines(self) -> Iterator[str]:
        """The report: each article that has examples, then folders, then remarks."""
        made = self.examples.group_by("article", "split").agg("id").sort("article").rows()
        ids = {(article, split): names for article, split, names in made}
        for row in self.articles.filter(pl.col("id").is_in([one for one, _, _ in made])).to_dicts():
            yield f"{row['id']}: {row['title']} (retracted: {_why(row)})"
            for split in SPLITS:
                if names := ids.get((row["id"], split)):
                    yield f"  {len(names)} in {split}: {_some(names)}"
        bare = self.articles.join(self.examples, left_on="id", right_on="article", how="anti")
        if bare.height:
            yield f"retracted, and without an example: {_some(bare['id'].to_list())}"
        yield from (f"{folder}: {mark['why']}" for folder, mark in self.marks.items() if mark)
        yield from self.remarks


def retract(
    workspace: Workspace,
    names: Sequence[str] = (),
    csv: Path | None = None,
    *,
    reason: str = "",
    dry_run: bool = False,
) -> Retraction:
    """Put articles on the list of retracted ones, and mark what was trained on them.

    Everything on the list is looked at, not only what is new: so the next call completes one that
    was broken off, and a mark goes when its article is taken off the list.

    Args:
        workspace: where to look.
        names: PMIDs, PMC ids, DOIs or article ids.
        csv: a file in Retraction Watch's public columns. Of its rows only retractions count;
            a later reinstatement takes the article off the list.
        reason: why the articles in `names` are retracted.
        dry_run: change nothing.

    Raises:
        WorkspaceError: a name or file cannot be read, or the workspace is not there or cannot be
            written.
    """
    workspace.must_exist()
    new = lists.typed(names, reason, time.strftime("%Y-%m-%d", time.gmtime()))
    here = lists.collected(workspace)
    absent = new.join(lists.listed(new, here), on=lists.KEYS, how="anti")
    back, others, before = new.clear(), new.clear(), lists.read_list(workspace)
    if csv:
        watched, back, others = lists.read_watch(csv)
        new = pl.concat([new, watched])
    rows = lists.resolved(lists.merged(before, new, back), here)
    rows = lists.merged(rows, lists.copies(workspace, rows), back)
    found = _descendants(workspace, rows)
    changed = [folder for folder, mark in found.marks.items() if _differs(folder, mark)]
    if not dry_run:
        with writing_to(workspace.root):
            if not rows.equals(before):
                lists.write_list(workspace, rows)
            for folder in changed:
                _mark(folder, found.marks[folder])
    doubted = lists.listed(others, here)
    missing = ["".join(row) for row in absent.select(lists.KEYS).iter_rows()]
    did = "would change" if dry_run else "changed"
    found.remarks.extend(
        [
            *([f"no article here, listed for later: {_some(missing)}"] if missing else []),
            *(f"{row['id']}: not retracted, but {_why(row)}" for row in doubted.to_dicts()),
            *([f"{others.height:,} rows of {csv} retract nothing"] if others.height else []),
            f"{workspace.root / lists.LIST}: {rows.height:,} articles, {before.height:,} before",
            f"{len(changed)} marks {did}. Copies in other places are not known.",
            f"Next: `{workspace.command('run')}` leaves these articles out, from inspect on.",
        ]
    )
    return found


def _descendants(workspace: Workspace, rows: pl.DataFrame) -> Retraction:
    """Everything in a workspace that descends from the articles that a list names."""
    examples = _examples(workspace)
    learned, unknown = _learned(workspace)
    pairs = pl.concat([examples.select(*_PAIRS), *learned.values()])
    # An adapter may name articles that were collected once and are not any more.
    here = lists.collected(workspace)
    gone = pairs.lazy().select(id="article").unique().join(here, on="id", how="anti")
    known = pl.concat([here, gone], how="diagonal").with_columns(pl.col(*lists.NAMES).fill_null(""))
    named = lists.listed(rows, known).unique("id", keep="first", maintain_order=True)
    titles = known.select("id", "title").collect()
    articles = named.select("id", "reason", "source", "date").join(titles, on="id")
    examples = examples.filter(pl.col("article").is_in(articles["id"].implode()))
    marks = {folder: _withdrawal(folder, data, articles) for folder, data in learned.items()}
    remarks = [f"{path}: not known, since its adapter is not here any more" for path in unknown]
    home, judged = workspace.folder("train") / "adapter", workspace.folder("evaluate")
    held_out = examples.filter(pl.col("split") != "train").height
    if judged.exists() and (held_out or marks.get(home)):
        whose = ", and its adapter is withdrawn" if marks.get(home) else ""
        remarks += [f"{judged}: stale: {held_out} of its held-out examples{whose}"]
    return Retraction(articles, examples, marks, remarks)


def _examples(workspace: Workspace) -> pl.DataFrame:
    """Each example and the articles that it was built from."""
    tables = [pl.DataFrame(schema=_PAIRS | {"split": pl.String})]
    for split in SPLITS:
        path = workspace.folder("expand") / f"{split}.jsonl"
        if path.is_file() and path.stat().st_size:
            rows = pl.scan_ndjson(path).select("id", article="article_ids", split=pl.lit(split))
            tables.append(rows.explode("article").drop_nulls().collect())
    return pl.concat(tables)


def _folders(workspace: Workspace) -> list[Path]:
    """Every adapter and export in a workspace; adapters first."""
    home = workspace.folder("train")
    exports = [*home.glob("exports/[!.]*"), *workspace.root.glob("exports/[!.]*")]
    found = [home / "adapter", *sorted(home.glob("versions/v*")), *sorted(exports)]
    return [path for path in found if path.is_dir()]


def _learned(workspace: Workspace) -> tuple[dict[Path, pl.DataFrame], list[Path]]:
    """What each adapter and export learned from, and the exports of which that is not known."""
    learned: dict[Path, pl.DataFrame] = {}
    adapters: dict[str, Path] = {}
    unknown = []
    for folder in _folders(workspace):
        if (folder / TRAINING_FILE).is_file():
            learned[folder] = _data(folder)
            adapters.setdefault(file_sha256(folder / TRAINING_FILE), folder)
        elif (folder / "export.json").is_file():
            made_of = json.loads((folder / "export.json").read_text(encoding="utf-8"))["adapter"]
            if origin := adapters.get(made_of.get(TRAINING_FILE, "")):
                learned[folder] = learned[origin]
            else:
                unknown.append(folder)
    return learned, unknown


def _data(adapter: Path) -> pl.DataFrame:
    """Examples that an adapter was trained on or that its recorded slice holds, and articles."""
    names = json.loads((adapter / TRAINING_FILE).read_text(encoding="utf-8")).get("examples", [])
    pairs = []
    if (adapter / MANIFEST_FILE).is_file():
        told = read_manifest(adapter).select("id", "article_ids").explode("article_ids")
        pairs, names = told.drop_nulls().rows(), []
    if (adapter / PROBE_FILE).is_file():
        probe = json.loads((adapter / PROBE_FILE).read_text(encoding="utf-8"))
        names = [*names, *(row["id"] for row in probe["examples"])]
    pairs += [(name, name.rsplit("/", 2)[0]) for name in names]
    return pl.DataFrame(pairs, schema=_PAIRS, orient="row").unique(maintain_order=True)


def _withdrawal(folder: Path, data: pl.DataFrame, articles: pl.DataFrame) -> dict[str, Any]:
    """The content of a folder's mark; {} where nothing in its data was retracted."""
    own = data.join(articles, left_on="article", right_on="id", how="semi")
    counts = own.group_by(id="article").agg(examples=pl.len())
    named = articles.join(counts, on="id").sort("id").to_dicts()
    if not named:
        return {}
    told = _some([f"{row['id']} (retracted: {_why(row)})" for row in named], 3)
    number = own["id"].n_unique()
    why = f"withdrawn: it learned from {number} examples of {told}. Use one made without them."
    return {"why": why, "of": seal_sha256(folder), "articles": named}


def _differs(folder: Path, mark: dict[str, Any]) -> bool:
    path = folder / WITHDRAWN
    now = path.read_text(encoding="utf-8") if path.is_file() else ""
    return now != (json_text(mark) if mark else "")


def _mark(folder: Path, mark: dict[str, Any]) -> None:
    """Mark a folder, or take its mark away. The page comes first: the other one completes it."""
    if not mark:
        (folder / WITHDRAWN).unlink()
        (folder / WITHDRAWN_PAGE).unlink(missing_ok=True)
        return
    path = folder / PASSPORT_FILE
    if path.is_file():
        passport = json.loads(path.read_text(encoding="utf-8")) | {"withdrawn": mark}
        page = passport_html(passport, read_manifest(folder), file_sha256(path))
        write_atomically(folder / WITHDRAWN_PAGE, page)
    write_atomically(folder / WITHDRAWN, json_text(mark))


def _why(row: dict[str, Any]) -> str:
    return f"{row['reason'] or 'no reason given'}; {row['source']}"


def _some(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
