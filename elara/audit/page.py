"""The adapter passport as a page for people: one file, no scripts, nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from elara.audit.certificate import contaminated_items
from elara.audit.curve import curve_svg

_STYLE = Path(__file__).with_name("passport.css")
_LISTED = 60  # articles named on the page; the data manifest names all


def passport_html(passport: dict[str, Any], manifest: pl.DataFrame, digest: str) -> str:
    """Write the passport as a page.

    Args:
        passport: the content of `passport.json`.
        manifest: the data manifest, for the list of articles.
        digest: SHA-256 of the JSON file that the page was made from.

    Returns:
        A whole HTML document.

    Source: https://www.w3.org/WAI/tutorials/tables/ (captions and scopes).
    """
    title, style = escape(passport["title"]), _STYLE.read_text(encoding="utf-8")
    parts = (
        _head(passport, digest),
        _evaluation(passport["evaluation"]),
        _preference(passport["preference"]) if "preference" in passport else "",
        _continues(passport["continues"]) if "continues" in passport else "",
        _data(passport["data"]),
        _certificate(passport["certificate"]),
        _losses(passport["losses"]),
        _training(passport),
        _articles(manifest),
        _files(passport),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Adapter passport: {title}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()
) -> str:
    """A table; cells are text and are escaped, unless they are `_Html`."""

    def cell(i: int, value: Any) -> str:
        style = ' class="n"' if i in numbers else ""
        text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        inner = text if isinstance(text, _Html) else escape(str(text))
        return f'<th scope="row"{style}>{inner}</th>' if i == 0 else f"<td{style}>{inner}</td>"

    heads = "".join(
        f'<th scope="col"{" class=n" if i in numbers else ""}>{escape(h)}</th>'
        for i, h in enumerate(head)
    )
    body = "\n".join(
        "<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table>\n<caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


class _Html(str):
    """Text that is HTML already."""


def _hash(digest: str) -> _Html:
    return _Html(f'<span class="hash">{escape(digest)}</span>')


def _head(passport: dict[str, Any], digest: str) -> str:
    data, losses, adapter = passport["data"], passport["losses"], passport["adapter"]
    certificate = passport["certificate"]
    found = contaminated_items(passport)
    share = 100 * adapter["trainable_parameters"] / adapter["total_parameters"]
    watched = (
        f"{losses['base']:.2f} → {losses['final']:.2f}"
        if losses["base"] is not None and losses["final"] is not None
        else "not measured"
    )
    if "preference" in passport:
        held = next(r for r in passport["preference"]["margins"] if r["split"] == "held_out")
        margin = ("Reward margin", f"0 → {held['margin']:.2f}", "on held-out questions")
    else:
        margin = ("Validation loss", watched, f"nats per answer token, {_start(losses)} → adapter")
    items = (
        ("Training examples", f"{data['examples']:,}", f"from {data['articles']:,} articles"),
        (
            "Held-out text in training",
            f"{found:,} items" if found else "none found",
            f"five checks against {len(certificate['compared']) - 1} held-out sets",
        ),
        margin,
        ("Evaluation", passport["evaluation"]["status"], "see the verdict below"),
    )
    glance = "".join(
        f"<div><dt>{escape(a)}</dt><dd>{escape(b)}<small>{escape(c)}</small></dd></div>"
        for a, b, c in items
    )
    return (
        f'<header>\n<p class="kind">Adapter passport</p>\n<h1>{escape(passport["title"])}</h1>\n'
        f'<p class="soft">Made on {escape(passport["made"])} with Elara '
        f"{escape(passport['elara'])}; {adapter['trainable_parameters']:,} trained parameters, "
        f"{share:.2f} % of the model, {adapter['bytes'] / 1e6:.1f} MB.</p>\n</header>\n"
        f'<div class="use" role="note"><p><strong>Not for care.</strong> '
        f"{escape(passport['intended_use'])}</p></div>\n"
        f'<dl class="glance">{glance}</dl>\n'
        f'<p class="soft">This page was made from the JSON file beside it, SHA-256 '
        f'<span class="hash">{escape(digest)}</span>.</p>\n'
    )


def _evaluation(evaluation: dict[str, Any]) -> str:
    text = f"<h2>Verdict of the evaluation</h2>\n<p>{escape(evaluation['text'])}</p>\n"
    if evaluation["status"] != "evaluated":
        return text + (
            "<p class=soft>The evaluation comes after training and completes a copy of this "
            "passport in its own folder; this one stays as it was sealed.</p>\n"
        )
    rows = [
        (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else value)
        for name, value in evaluation["numbers"].items()
    ]
    numbers = _table("Numbers behind the verdict", ("measure", "value"), rows, numbers=(1,))
    return f'{text}<div class="narrow">{numbers}</div>\n'


def _continues(told: dict[str, Any]) -> str:
    clean = not told["contaminated_items"]
    found = "no" if clean else f"{told['contaminated_items']:,}"
    tuned = f" and {told['judgements']:,} judgements" if told["judgements"] else ""
    return (
        f"<h2>Trained on from an earlier adapter</h2>\n<p>It went on from "
        f"<strong>{escape(told['title'])}</strong> with the fingerprint "
        f'<span class="hash">{escape(told["fingerprint"])}</span>, whose passport has SHA-256 '
        f'<span class="hash">{escape(told["passport_sha256"])}</span>. That one had learned from '
        f"{told['examples']:,} examples{tuned}. The examples are among the data below; "
        "certificate, losses and training are about the last run.</p>\n"
        f'<p class="{"good" if clean else "bad"}">What it had learned from was compared with '
        f"held-out sets then: {found} held-out items were found in it.</p>\n"
    )


def _preference(told: dict[str, Any]) -> str:
    method, sources = told["method"].upper(), told["sources"]
    clean = told["certificate"]["verdict"] == "clean"
    found = (
        "No held-out item was found in it."
        if clean
        else f"{told['certificate']['contaminated_items']:,} held-out items were found in it."
    )
    margins = [
        (row["split"].replace("_", " "), row["questions"], *(f"{row[c]:.3f}" for c in _MARGIN))
        for row in told["margins"]
    ]
    continues = told["continues"]
    before = (
        f"<p>It was tuned further from <strong>{escape(continues['title'])}</strong> with the "
        f'fingerprint <span class="hash">{escape(continues["fingerprint"])}</span>, whose passport '
        f'has SHA-256 <span class="hash">{escape(continues["passport_sha256"])}</span>. The '
        "sections on data, certificate, losses and training below are about that adapter.</p>\n"
        if continues
        else ""
    )
    return (
        f"<h2>Preference tuning</h2>\n<p>{method} on {told['judgements']:,} judgements "
        f"({escape(_counts(sources))}; {told['left_out']:,} were too long). They say what was "
        "preferred, not what is true. A margin is the reward of the preferred answers minus that "
        "of the others; before tuning it is 0, and above 0 the model leans towards answers of the "
        f'preferred kind.</p>\n<p class="{"good" if clean else "bad"}">The feedback was compared '
        f"with the held-out sets. {found}</p>\n{before}"
        + _table(
            "Reward margins after tuning, with their 95 % intervals",
            ("questions", "number", "margin", "from", "to", "accuracy"),
            margins,
            numbers=range(1, 6),
        )
        + _table(
            "Settings of the preference tuning",
            ("setting", "value"),
            [(name, _value(value)) for name, value in told["config"].items()],
        )
    )


_MARGIN = ("margin", "low", "high", "accuracy")


def _counts(sources: dict[str, int]) -> str:
    return ", ".join(f"{n:,} from {name or 'an unnamed source'}" for name, n in sources.items())


def _data(data: dict[str, Any]) -> str:
    kept = data["may_not_be_passed_on"]
    text = (
        f"<h2>What it was trained on</h2>\n<p>{data['examples']:,} examples from "
        f"{data['articles']:,} articles. "
        + (
            f"The text of {kept:,} of them may not be passed on. "
            if kept
            else "The licences of all of them allow the text to be passed on. "
        )
        + f"<code>{escape(data['manifest'])}</code> names every one with its source and "
        "licence.</p>\n"
    )
    counts = "".join(
        "<div>"
        + _table(f"Examples per {one}", (one, "examples"), data[many].items(), numbers=(1,))
        + "</div>"
        for one, many in (
            ("licence", "licences"),
            ("source", "sources"),
            ("specialty", "specialties"),
            ("origin", "origins"),
        )
    )
    if not data["examples"]:
        return "<h2>What it was trained on</h2>\n<p>No examples: preferences alone.</p>\n"
    columns = list(data["tokens"][0])
    splits = _table(
        "Tokens, and what was left out",
        [c.replace("_", " ") for c in columns],
        [[row[c] for c in columns] for row in data["tokens"]],
        numbers=range(1, len(columns)),
    )
    return f'{text}{splits}<div class="side">{counts}</div>\n'


def _articles(manifest: pl.DataFrame) -> str:
    if manifest.is_empty():
        return ""
    articles = (
        manifest.with_columns(article=pl.col("article_ids").list.first())
        .group_by("article")
        .agg(pl.len(), pl.col("title", "url", "licence").first())
        .sort("article")
    )
    rows = []
    for article, n, title, url, licence in articles.head(_LISTED).iter_rows():
        name = escape(title or article)
        web = url.startswith(("https://", "http://"))
        linked = _Html(f'<a href="{escape(url)}">{name}</a>' if web else name)
        rows.append((linked, licence, n))
    more = articles.height - len(rows)
    listed = _table(
        "Articles that examples were built from",
        ("article", "licence", "examples"),
        rows,
        numbers=(2,),
    )
    rest = f"<p class=soft>{more:,} more are in the data manifest.</p>\n" if more > 0 else ""
    return f"<h2>Whose text it is</h2>\n{listed}{rest}"


def _certificate(certificate: dict[str, Any]) -> str:
    clean = certificate["verdict"] == "clean"
    verdict = (
        "No held-out item was found in the training data."
        if clean
        else f"{certificate['contaminated_items']:,} held-out items were found in the training "
        "data. An evaluation on them rewards memory."
    )
    sets = [
        (name, known["items"], known["texts"], _hash(known["sha256"]))
        for name, known in certificate["compared"].items()
    ]
    checks = [(c["check"], c["method"], c["found"]) for c in certificate["checks"]]
    found = [
        (f["item"], f["set"], f["check"], f["train_id"], f"{f['similarity']:.2f}")
        for f in certificate["findings"][:_LISTED]
    ]
    head = ("held-out item", "set", "check", "training example", "similarity")
    return (
        "<h2>Contamination certificate</h2>\n"
        f'<p class="{"good" if clean else "bad"}">{escape(verdict)}</p>\n'
        + _table("Checks", ("check", "counts as found if there is", "items found"), checks, [2])
        + _table("Sets compared", ("set", "items", "with text", "SHA-256"), sets, [1, 2])
        + (_table("Findings", head, found, [4]) if found else "")
        + "<p class=soft>It speaks of this training data only. What the base model saw when it was "
        "made is not known. Methods: "
        + "; ".join(escape(source) for source in certificate["sources"])
        + ".</p>\n"
    )


def _training(passport: dict[str, Any]) -> str:
    rows = [
        (
            row["setting"],
            _value(row["reference"]),
            _value(row["value"]),
            row["reason"] if row["value"] != row["reference"] else "",
        )
        for row in sorted(passport["config"], key=lambda row: row["value"] == row["reference"])
    ]
    place = passport["environment"]
    precision = place["precision"]
    software = ", ".join(f"{name} {version}" for name, version in place["libraries"].items())
    return (
        "<h2>How it was trained</h2>\n"
        f"<p>Base model <strong>{escape(passport['base_model'])}</strong>, on "
        f"{escape(place['device'])} in {escape(precision['dtype'])} "
        f"({escape(precision['reason'])}). {escape(place['system'])}, Python "
        f"{escape(place['python'])}; {escape(software)}.</p>\n"
        + _table(
            "Settings beside the reference run",
            ("setting", "reference", "this run", "why it differs"),
            rows,
        )
    )


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _start(losses: dict[str, Any]) -> str:
    """What was trained: a passport of an earlier Elara does not say, and then it was the base."""
    return str(losses.get("start", "base model"))


def _losses(losses: dict[str, Any]) -> str:
    held = [
        (row["step"], f"{row['epoch']:.2f}", f"{row['loss']:.4f}") for row in losses["validation"]
    ]
    measured = losses["slice"]
    again = (
        f"On {measured['examples']} recorded examples the base model's mean loss is "
        f"{measured['base']:.4f} and the adapter's {measured['adapter']:.4f}; "
        "<code>elara verify</code> measures them again."
        if measured["examples"]
        else "No example of this run may be passed on, so none is recorded to be measured again."
    )
    table = _table(
        f"Loss on validation examples ({losses['unit']}); step 0 is the {_start(losses)}",
        ("step", "epoch", "loss"),
        held,
        numbers=(0, 1, 2),
    )
    if not losses["steps"]:
        return ""
    return (
        f"<h2>Losses</h2>\n<p>{losses['steps']:,} steps over {losses['tokens']:,} tokens. The loss "
        "says how surprised the model is by the reference answers; it does not say whether its "
        f"own answers are true.</p>\n{curve_svg(losses)}"
        f'<div class="narrow">{table if held else ""}</div><p>{again}</p>\n'
    )


def _files(passport: dict[str, Any]) -> str:
    rows = [(name, _hash(digest)) for name, digest in passport["files"].items()]
    completes = passport.get("completes")
    copy = (
        "<p>This copy was completed by the evaluation. It is about the adapter with the "
        f'fingerprint <span class="hash">{escape(completes["fingerprint"])}</span>, whose own '
        f'passport has SHA-256 <span class="hash">{escape(completes["passport_sha256"])}</span>.'
        "</p>\n"
        if completes
        else ""
    )
    return (
        "<h2>Files and how to check them</h2>\n"
        "<p><code>elara verify --adapter FOLDER</code> compares every byte with "
        "<code>SHA256SUMS</code> and measures the recorded losses again; "
        "<code>sha256sum -c SHA256SUMS</code> does the first without Elara.</p>\n"
        f"{copy}{_table('Files of the adapter', ('file', 'SHA-256'), rows)}"
    )
