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
from elara.workspace.formats import WITHDRAWN, WITHDRAWN_PAGE, json_text

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
        for row in self.articles.to_dicts():
            own = self.examples.filter(article=row["id"])
            if own.height:
                yield f"{row['id']}: {row['title']} (retracted: {_why(row)})"
            for (split,), rows in own.group_by("split", maintain_order=True):
                yield f"  {rows.height} in {split}: {_some(rows['id'])}"
        bare = self.articles.join(self.examples, left_on="id", right_on="article", how="anti")
        if bare.height:
            yield f"retracted, and without an example: {_some(bare['id'])}"
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
    told = lists.typed(names, reason, time.strftime("%Y-%m-%d", time.gmtime()))
    watched = lists.read_watch(csv) if csv else told.clear()
    before, here = lists.read_list(workspace), lists.collected(workspace)
    rows = lists.completed(lists.merged(before, pl.concat([told, watched])), workspace)
    found = _descendants(workspace, rows, here)
    remarks = found.remarks
    with writing_to(workspace.root):
        if not dry_run and not rows.equals(before):
            write_atomically(workspace.root / lists.LIST, rows.write_csv())
        changed = [_mark(folder, mark, dry_run) for folder, mark in found.marks.items()]
    absent = told.join(lists.listed(told, here), on=lists.KEYS, how="anti").select(lists.KEYS)
    if absent.height:
        missing = _some(absent.select(pl.concat_str(lists.KEYS)).to_series())
        remarks.append(f"no article here, listed for later: {missing}")
    others = watched.filter(~pl.col("nature").is_in(["retraction", "reinstatement"]))
    for row in lists.listed(others, here).to_dicts():
        remarks.append(f"{row['id']}: not retracted, but {row['nature']}: {_why(row)}")
    remarks += [
        *([f"{others.height:,} rows of {csv} retract nothing"] if others.height else []),
        f"{workspace.root / lists.LIST}: {rows.height:,} articles, {before.height:,} before",
        f"{sum(changed)} marks {'would change' if dry_run else 'changed'}. Copies in other places "
        "are not known.",
        f"Next: `{workspace.command('run')}` leaves these articles out, from inspect on.",
    ]
    return found


def _descendants(workspace: Workspace, rows: pl.DataFrame, here: pl.DataFrame) -> Retraction:
    """Everything in a workspace that descends from the articles that a list names."""
    examples = _examples(workspace)
    learned, unknown = _learned(workspace)
    # An adapter may name articles that were collected once and are not any more.
    pairs = pl.concat([examples.select(*_PAIRS), *learned.values()]).select(id="article").unique()
    known = pl.concat([here, pairs.join(here, on="id", how="anti")], how="diagonal").fill_null("")
    articles = lists.listed(rows, known).unique("id", keep="first", maintain_order=True)
    articles = articles.join(known.select("id", "title"), on="id").drop(lists.KEYS)
    examples = examples.join(articles, left_on="article", right_on="id", how="semi")
    marks = {folder: _withdrawal(data, articles) for folder, data in learned.items()}
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


def _learned(workspace: Workspace) -> tuple[dict[Path, pl.DataFrame], list[Path]]:
    """What each adapter and export learned from, and the exports of which that is not known."""
    home, root = workspace.folder("train"), workspace.root
    learned: dict[Path, pl.DataFrame] = {}
    adapters: dict[str, Path] = {}
    unknown = []
    for path in (p for form in ("adapter", "versions/v*") for p in sorted(home.glob(form))):
        if (path / TRAINING_FILE).is_file():
            learned[path] = _data(path)
            adapters.setdefault(file_sha256(path / TRAINING_FILE), path)
    exports = (p for at in (home, root) for p in sorted(at.glob("exports/[!.]*/export.json")))
    for export in exports:
        made_of = json.loads(export.read_text(encoding="utf-8"))["adapter"]
        if origin := adapters.get(made_of.get(TRAINING_FILE, "")):
            learned[export.parent] = learned[origin]
        else:
            unknown.append(export.parent)
    return learned, unknown


def _data(adapter: Path) -> pl.DataFrame:
    """Examples that an adapter was trained on or that its recorded slice holds, and articles."""
    record = json.loads((adapter / TRAINING_FILE).read_text(encoding="utf-8"))
    names = [*record.get("examples", []), *record.get("earlier_examples", [])]
    if (adapter / PROBE_FILE).is_file():
        probe = json.loads((adapter / PROBE_FILE).read_text(encoding="utf-8"))
        names += [row["id"] for row in probe["examples"]]
    pairs = [(name, name.rsplit("/", 2)[0]) for name in names]
    if (adapter / MANIFEST_FILE).is_file():
        told = read_manifest(adapter).select("id", "article_ids").explode("article_ids")
        pairs += told.drop_nulls().rows()
    return pl.DataFrame(pairs, schema=_PAIRS, orient="row").unique(maintain_order=True)


def _withdrawal(data: pl.DataFrame, articles: pl.DataFrame) -> dict[str, Any]:
    """The content of a folder's mark; {} where nothing in its data was retracted."""
    own = data.join(articles, left_on="article", right_on="id", how="semi")
    counts = own.group_by(id="article").agg(examples=pl.len())
    named = articles.join(counts, on="id").sort("id").to_dicts()
    if not named:
        return {}
    told = _some([f"{row['id']} (retracted: {_why(row)})" for row in named], 3)
    number = own["id"].n_unique()
    why = f"withdrawn: it learned from {number} examples of {told}. Use one made without them."
    return {"why": why, "articles": named}


def _mark(folder: Path, mark: dict[str, Any], dry_run: bool) -> bool:
    """Mark a folder, or take its mark away; whether that changes something."""
    path, page, text = folder / WITHDRAWN, folder / WITHDRAWN_PAGE, json_text(mark) if mark else ""
    if text == (path.read_text(encoding="utf-8") if path.is_file() else ""):
        return False
    if not mark and not dry_run:
        path.unlink()
        page.unlink(missing_ok=True)
    elif not dry_run:
        # The page comes first: the next call completes a mark of which only that is there.
        if (folder / PASSPORT_FILE).is_file():
            passport = json.loads((folder / PASSPORT_FILE).read_text(encoding="utf-8"))
            told, sealed = passport | {"withdrawn": mark}, file_sha256(folder / PASSPORT_FILE)
            write_atomically(page, passport_html(told, read_manifest(folder), sealed))
        write_atomically(path, text)
    return True


def _why(row: dict[str, Any]) -> str:
    return f"{row['reason'] or 'no reason given'}; {row['source']}"


def _some(names: Sequence[str] | pl.Series, most: int = 20) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
