"""Clean a table of any size in batches, and record what each rule did.

First, words that line ends may have split are counted. The first pass applies the rules to every
text and counts sentences and paragraphs on disk. The next pass removes what stands in several
articles and counts again; passes follow until nothing is left to remove.
"""

from __future__ import annotations

import tempfile
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from elara.clean.edits import Edits, Triggers
from elara.clean.passages import Counter, Repeats, find
from elara.clean.repair import count_forms, split_forms
from elara.clean.rules import MOST_ROUNDS, RULES, Rule
from elara.clean.tables import NEEDED, Texts, Writers, pack, read, unpack
from elara.display.figures import BLUE, new_figure, plain
from elara.display.progress import Progress
from elara.machine import memory
from elara.text.phi import PHI, find_each, patient_kinds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORKERS = 2
_COUNTS = (
    *("articles", "dropped", "changes", "removed", "phi", "phi_dropped", "lost", "review"),
    *("characters_before", "characters_after"),
)
_Place = tuple[str, str, str, int, int]
_PATIENT = np.uint64(sum(1 << n for n, kind in enumerate(PHI) if kind.patient))


@dataclass(frozen=True)
class Cleaned:
    """Clean articles and an account of how they came to be.

    Args:
        folder: where the tables are.
        counts: `articles` that stay, `dropped` ones, `changes`, `removed` passages, `phi` places
            (`phi_dropped` of them in dropped articles), `lost` terms, doubts for `review`, and the
            characters of all texts: `characters_before`, and of those that stay `characters_after`.
        effects: what each rule did: `rule`, `texts` changed, `characters` removed, `passages`
            named; most texts first.
    """

    folder: Path
    counts: dict[str, int]
    effects: pl.DataFrame
    _held: Any = None

    @property
    def articles(self) -> pl.DataFrame:
        """The articles that stay, with a column `phi`: something may identify a patient."""
        return pl.read_parquet(self.folder / "articles.parquet")

    @property
    def changes(self) -> pl.DataFrame:
        """One row per text and rule that changed it.

        `id`, `rule`, `field`, `before` and `after` (excerpts of at most 120 characters around the
        first change), `count` (characters that the text became shorter; below 0: longer).
        """
        return pl.read_parquet(self.folder / "changes.parquet")

    @property
    def removed(self) -> pl.DataFrame:
        """Passages taken away: `id`, `rule`, `field`, `text`, `kind`, `terms`.

        `terms` counts the protected terms in the passage. None is there but in what `kind` names:
        a `citation`, an `address`, a `legal` line or a `label`; see `elara.clean.legal`.
        """
        return pl.read_parquet(self.folder / "removed.parquet")

    @property
    def dropped(self) -> pl.DataFrame:
        """Articles left out: `id`, `reason`."""
        return pl.read_parquet(self.folder / "dropped.parquet")

    @property
    def phi(self) -> pl.DataFrame:
        """Where the clean texts hold what may identify a person; see `find_phi`."""
        return pl.read_parquet(self.folder / "phi.parquet")

    @property
    def review(self) -> pl.DataFrame:
        """Changes that were not made because they would have lost a protected term.

        The text is as it was before the rule: `id`, `rule`, `field`, `kind`, `term`, `before`,
        `after` (how often the term should be there and would have been). The kind is `error`
        where a rule failed on the text, and `unsettled` where rules undid each other until the
        last round, and the text stays as it was then.
        """
        return pl.read_parquet(self.folder / "review.parquet")

    def plot(self) -> Figure:
        """Bars: the number of texts that each rule changed."""
        figure = new_figure(7, 0.35 * max(self.effects.height, 3) + 1)
        axes = figure.subplots()
        rules, texts = self.effects["rule"].to_list(), self.effects["texts"].to_list()
        axes.bar_label(axes.barh(rules, texts, color=BLUE), padding=3)
        axes.invert_yaxis()
        axes.set(xlabel="texts changed (titles, abstracts, sections)", ylabel="rule")
        plain(axes)
        return figure


def clean(
    articles: pl.DataFrame,
    rules: Sequence[Rule] = RULES,
    boilerplate_repeats: int = 5,
) -> Cleaned:
    """Clean a table that is in memory, and leave nothing out for a name; see `clean_file`.

    Args:
        articles: a table with the columns of `Article` (further columns stay).
        rules: see `clean_file`.
        boilerplate_repeats: see `clean_file`.
    """
    held = tempfile.TemporaryDirectory(prefix="elara-clean-")
    folder = Path(held.name)
    source = folder / "source.parquet"
    articles.write_parquet(source)
    done = clean_file(source, folder / "clean", rules, boilerplate_repeats, keep_phi=True)
    source.unlink()
    return Cleaned(done.folder, done.counts, done.effects, held)


def clean_file(
    source: Path,
    folder: Path,
    rules: Sequence[Rule] = RULES,
    boilerplate_repeats: int = 5,
    keep_phi: bool = False,
) -> Cleaned:
    """Clean the texts of articles, and prove that no protected term was lost.

    A change that would lose one is not made: that text stays as it was before the rule, and the
    doubt is filed in review.parquet. Cleaning what is clean changes nothing. The table is read in
    batches: memory does not grow with it.

    Args:
        source: a Parquet file with the columns of `Article` (further columns stay).
        folder: where to write articles.parquet, changes.parquet, removed.parquet,
            dropped.parquet, phi.parquet and review.parquet.
        rules: what to apply, in this order.
        boilerplate_repeats: a sentence found in at least this many articles is boilerplate.
            Questions and answers keep all their sentences: each of them must stand alone.
        keep_phi: whether articles in which a patient may be named stay. If not, they are
            dropped, by name.

    Returns:
        Where the tables are, and what was done.

    Raises:
        ParameterError: `boilerplate_repeats` is below 2.
        WorkspaceError: the file cannot be read as a table of articles.
    """
    folder.mkdir(parents=True, exist_ok=True)
    triggers = Triggers([rule.triggers for rule in rules])
    words = _words(source) if any(rule.informed for rule in rules) else Counts()
    repeats: Repeats | None = None
    counts = dict.fromkeys(_COUNTS, 0)
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as name, Writers(folder) as out:
        for number in range(MOST_ROUNDS):
            work = Path(name) / f"{number}"
            work.mkdir()
            counter = Counter(work / "counts", boilerplate_repeats)
            changes = counts["changes"]
            counts |= {"articles": 0, "characters_after": 0, "phi": counts["phi_dropped"]}
            clean_batch = partial(_clean_batch, rules, triggers, words, keep_phi, repeats)
            with Writers(work) as passing:
                label = "remove repeats" if repeats else "clean articles"
                for done in _each(clean_batch, source, label):
                    counter.add(done.found, counts["articles"])
                    passing.table("articles", done.table)
                    passing.rows("phi", done.phi)
                    for table, rows in done.rows.items():
                        out.rows(table, rows)
                    for what, more in done.counts.items():
                        counts[what] += more
            source = work / "articles.parquet"
            repeats = counter.repeats(repeats.verdicts if repeats else {})
            if number and (not repeats.work_left() or counts["changes"] == changes):
                break
        source.replace(folder / "articles.parquet")
        for batch in pq.ParquetFile(work / "phi.parquet", pre_buffer=False).iter_batches():
            out.table("phi", pa.Table.from_batches([batch]))
    return Cleaned(folder, counts, _effects(folder))


class _Done(NamedTuple):
    """A batch after a pass."""

    table: pa.Table  # the articles that stay, with a column `phi`
    found: pl.DataFrame  # the sentences and lines in them
    phi: list[_Place]  # `(id, field, kind, start, end)` in them
    rows: dict[str, list[tuple[Any, ...]]]  # of the result tables; `phi`: in the other articles
    counts: dict[str, int]  # what the batch adds


def _clean_batch(
    rules: Sequence[Rule],
    triggers: Triggers,
    words: Mapping[str, int],
    keep_phi: bool,
    repeats: Repeats | None,
    table: pa.Table,
    offset: int,
) -> _Done:
    """Apply the rules to a batch, or where repeats are known, remove those from it."""
    texts = unpack(table)
    edits = Edits(texts, rules, triggers, words)
    if repeats is None:
        edits.apply_rules()
    else:
        changed = edits.remove(repeats.to_remove(texts, offset))
        repeats.learn(texts, edits.values(), changed)
    values = edits.values()
    phi = {} if repeats is None and keep_phi else _phi(texts, values, repeats is None)
    known, rows = patient_kinds(), range(table.num_rows)
    patients = np.array([any(p[2] in known for p in phi.get(row, ())) for row in rows], bool)
    full = np.zeros(table.num_rows, bool)
    written = pc.match_substring_regex(values, r"\S").to_numpy(zero_copy_only=False)
    full[texts.row[written]] = True
    stays = full if keep_phi else full & ~patients
    reasons = np.where(full, "may_identify_a_patient", "empty_after_cleaning")
    if "phi" in table.column_names:
        table = table.drop_columns(["phi"])
    cleaned = pack(table, values).append_column("phi", pa.array(patients)).filter(pa.array(stays))
    kept = unpack(cleaned)
    lost = edits.losses()  # may add to what is to be reviewed
    here = [place for row in sorted(phi) if stays[row] for place in phi[row]]
    filed: dict[str, list[tuple[Any, ...]]] = {
        "changes": edits.changes,
        "removed": edits.removed,
        "dropped": [(texts.ids[row], str(reasons[row])) for row in np.flatnonzero(~stays)],
        "review": [*edits.review],
        # As far as it decided that they go.
        "phi": [place for row in sorted(phi) if not stays[row] for place in phi[row]],
    }
    counts = {name: len(some) for name, some in filed.items()}
    counts |= {"phi_dropped": counts["phi"], "phi": counts["phi"] + len(here), "lost": lost}
    counts |= {"articles": cleaned.num_rows, "characters_after": _characters(kept.values)}
    if repeats is None:
        counts["characters_before"] = _characters(texts.values)
    return _Done(cleaned, find(kept, kept.values, kept.prose), here, filed, counts)


def _phi(texts: Texts, values: pa.LargeStringArray, first: bool) -> dict[int, list[_Place]]:
    """What may identify a person, by article; in the first pass only what decides."""
    kinds = _PATIENT if first else ~np.uint64(0)
    found: dict[int, list[_Place]] = {}
    for place, places in find_each(values, np.where(texts.named, np.uint64(0), kinds)):
        address = texts.address(place)
        found.setdefault(int(texts.row[place]), []).extend((*address, *p) for p in places)
    return found


def _characters(values: pa.LargeStringArray) -> int:
    return int(pc.sum(pc.utf8_length(values)).as_py() or 0)


def _words(source: Path) -> Counts[str]:
    """Count the words that decide how those are joined which a line end split."""
    every = (unpack(batch).values for batch in read(source, NEEDED))
    forms = {form for texts in every for form in split_forms(texts)}
    words: Counts[str] = Counts()
    if forms:
        for batch in read(source, NEEDED):
            words.update(count_forms(unpack(batch).values, forms))
    return words


def _each(
    clean_batch: Callable[[pa.Table, int], _Done], source: Path, label: str
) -> Iterator[_Done]:
    """Run a pass over the batches of a file on several threads, in order."""
    waiting: deque[Future[_Done]] = deque()
    offset = 0
    with ThreadPoolExecutor(_WORKERS) as workers, Progress(label) as progress:
        for batch in read(source):
            waiting.append(workers.submit(clean_batch, batch, offset))
            offset += batch.num_rows
            if len(waiting) > _WORKERS + 1:
                yield waiting.popleft().result()
                progress.advance(batch.num_rows)
                memory.give_back()
        while waiting:
            yield waiting.popleft().result()


def _effects(folder: Path) -> pl.DataFrame:
    """What each rule did, from the tables that were written."""
    changes, removed = (pl.scan_parquet(folder / f"{n}.parquet") for n in ("changes", "removed"))
    texts = changes.group_by("rule").agg(texts=pl.len(), characters=pl.col("count").sum())
    passages = removed.group_by("rule").agg(passages=pl.len())
    effects = texts.join(passages, on="rule", how="left").fill_null(0)
    effects = effects.with_columns(pl.col("texts", "passages").cast(pl.Int64))
    return effects.sort("texts", "rule", descending=[True, False]).collect()
