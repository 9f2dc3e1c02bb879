"""The certificate finds what leaked, and the passport tells the whole story of an adapter."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny_run

from elara import train
from elara.audit import AuditError
from elara.audit.certificate import Certificate, certify
from elara.audit.passport import data_manifest, with_verdict, write_passport
from elara.audit.verify import PAGE_FILE, PASSPORT_FILE, damage
from elara.export import export
from elara.export.parity import PROMPTS
from elara.model import load_base

LONG = (
    "Magnesium sulfate is given to prevent seizures in severe pre-eclampsia, the blood pressure "
    "is lowered slowly, and delivery follows once the mother is stable enough to bear it."
)


def example(name: str, answer: str, *, article: str = "", question: str = "What?") -> pl.DataFrame:
    row = tiny_run.examples(1).to_dicts()[0]
    row |= {"id": name, "article_ids": [article or name]}
    row["messages"][1]["content"], row["messages"][2]["content"] = question, answer
    return pl.DataFrame([row], schema=tiny_run.examples(0).schema)


def test_the_manifest_leads_from_each_example_to_its_source() -> None:
    articles = pl.DataFrame({"id": ["x:1"], "title": ["One"], "url": ["https://example.org/1"]})
    train = pl.concat([tiny_run.examples(2), example("p", LONG, article="pubmed:5")])
    rows = {row["id"]: row for row in data_manifest(train, articles).to_dicts()}
    assert rows["x:1/key_points/0"]["url"] == "https://example.org/1"
    assert rows["x:0/key_points/0"]["url"] == ""
    assert rows["p"]["url"] == "https://pubmed.ncbi.nlm.nih.gov/5/"
    assert {row["licence"] for row in rows.values()} == {"CC0-1.0"}


class Page(HTMLParser):
    """Collects what a page is made of and checks that its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_passport_holds_everything_an_auditor_asks_for(sealed: Path) -> None:
    passport = json.loads((sealed / PASSPORT_FILE).read_text())
    assert passport["data"]["licences"] == {"CC0-1.0": 16}
    assert passport["certificate"]["verdict"] == "clean"
    assert {"train", "validation", "test"} == passport["certificate"]["compared"].keys()
    reasons = {row["setting"]: row for row in passport["config"]}
    assert reasons["learning_rate"]["reference"] == 2e-4
    assert reasons["learning_rate"]["value"] == 1e-2
    assert reasons["quantisation"]["reason"]
    assert passport["losses"]["base"] > passport["losses"]["final"]
    assert passport["evaluation"]["status"] == "not evaluated"
    assert passport["environment"]["libraries"]["peft"]
    assert set(passport["files"]) == {p.name for p in sealed.iterdir()} - {
        *("SHA256SUMS", PASSPORT_FILE, PAGE_FILE)
    }


def test_neither_passport_nor_page_names_a_path_of_this_machine(sealed: Path) -> None:
    for name in (PASSPORT_FILE, PAGE_FILE, "README.md"):
        assert str(sealed.parents[1]) not in (sealed / name).read_text()
        assert not re.search(r"(^|[\s\"'>])/(tmp|home|root|work)/", (sealed / name).read_text())


def test_the_page_stands_alone_and_warns(sealed: Path) -> None:
    text = (sealed / PAGE_FILE).read_text()
    page = Page(text)
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert not {"script", "img", "link", "iframe"} & set(names)
    assert "url(" not in text
    assert names.count("table") == names.count("caption") > 8
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    assert "must not be used for diagnosis" in text
    assert "Not evaluated yet" in text


def test_text_of_others_cannot_change_the_page(sealed: Path, tmp_path: Path) -> None:
    from elara.audit.page import passport_html

    passport = json.loads((sealed / PASSPORT_FILE).read_text())
    rows = pl.read_ndjson(sealed / "data_manifest.jsonl")
    bad = rows.with_columns(title=pl.lit("<script>x</script>"), url=pl.lit("javascript:x()"))
    page = Page(passport_html(passport, bad, "0" * 64))
    assert "script" not in {tag for tag, _ in page.tags}
    assert all("javascript" not in str(attributes) for _, attributes in page.tags)


@dataclasses.dataclass(frozen=True)
class Verdict:
    verdict: str
    difference: float
    articles: int


def test_a_verdict_completes_a_copy_and_leaves_the_original(sealed: Path) -> None:
    before = (sealed / PASSPORT_FILE).read_bytes()
    verdict = Verdict("No difference was shown: the interval contains zero.", -0.0123, 19)
    passport, page = with_verdict(sealed, verdict)
    assert passport["evaluation"]["text"] == verdict.verdict
    assert passport["evaluation"]["numbers"] == {"difference": -0.0123, "articles": 19}
    assert passport["completes"]["fingerprint"] in page
    assert "No difference was shown" in page
    assert "-0.0123" in page
    assert Page(page).open == []
    assert (sealed / PASSPORT_FILE).read_bytes() == before
    assert damage(sealed) == []


def test_a_verdict_about_a_changed_adapter_is_refused(copy: Path) -> None:
    (copy / "README.md").write_text("It is safe.")
    with pytest.raises(AuditError, match=r"not as it was sealed: README.md was changed"):
        with_verdict(copy, {"verdict": "x"})


def test_a_certificate_about_other_examples_is_refused(copy: Path) -> None:
    other = certify(tiny_run.examples(3), {"test": tiny_run.examples(2, start=50)})
    splits = {"train": tiny_run.examples(16), "validation": tiny_run.examples(4, start=100)}
    training: Any = None  # refused before it is looked at
    with pytest.raises(AuditError, match="about other training examples"):
        write_passport(copy, training, tiny_run.config(copy), splits, other)
    known = certify(splits["train"], {})
    dirty = Certificate(known.compared, certify(splits["train"], {"t": splits["train"]}).findings)
    with pytest.raises(AuditError, match="held-out items are in the training data"):
        write_passport(copy, training, tiny_run.config(copy), splits, dirty)


def test_a_pinned_model_is_named_without_its_revision() -> None:
    from elara.audit.card import hub_name, shown_name

    assert hub_name("owner/model@abc123") == shown_name("owner/model@abc123") == "owner/model"


def test_held_out_items_of_every_earlier_run_are_counted() -> None:
    from elara.audit.certificate import contaminated_items

    own = {"certificate": {"contaminated_items": 1}}
    tuned = {"certificate": {"contaminated_items": 2}}
    assert contaminated_items(own) == 1
    assert contaminated_items(own | {"preference": tuned}) == 3
    carried = {"continues": {"contaminated_items": 4}}
    assert contaminated_items(own | {"preference": tuned} | carried) == 7


def test_private_texts_are_counted_and_none_of_their_words_travels(
    tiny_folder: Path, tmp_path: Path
) -> None:
    private = tiny_run.examples(4).with_columns(
        id=pl.format("own:{}/explain/0", pl.int_range(pl.len())),
        article_ids=pl.concat_list(pl.format("own:{}", pl.int_range(pl.len()))),
        licence=pl.lit("private"),
        redistributable=pl.lit(False),
        messages=pl.col("messages").list.eval(
            pl.struct(
                pl.element().struct.field("role"),
                content=pl.element().struct.field("content") + " Quokkawort.",
            )
        ),
    )
    articles = pl.DataFrame({
        "id": ["own:0"], "title": ["Quokkawort"], "url": ["https://quokkawort.example"]
    })  # fmt: skip
    settings = tiny_run.config(tiny_folder)
    lm = load_base(str(tiny_folder))
    data = train.tokenise(lm.tokenizer, private, private.head(1), settings)
    training = train.fine_tune(lm, data, settings, tmp_path / "checkpoints")
    adapter = tmp_path / "adapter"
    train.save_adapter(training, settings, data, {"private": 4}, adapter)
    splits = {"train": private, "validation": private.head(0)}
    certificate = certify(private, {})
    passport = write_passport(adapter, training, settings, splits, certificate, articles=articles)
    assert passport["data"]["may_not_be_passed_on"] == 4
    assert passport["data"]["licences"] == {"private": 4}
    assert passport["losses"]["slice"]["examples"] == 0
    assert "The text of 4 of them may not be passed on" in (adapter / PAGE_FILE).read_text()
    assert "The text of 4 examples is private" in (adapter / "README.md").read_text()
    export(adapter, tmp_path / "export", ["merged"], prompts=PROMPTS[3:5], answer_tokens=8)
    assert (
        "The text of 4 examples is private"
        in (tmp_path / "export" / "merged" / "README.md").read_text()
    )
    written = [p for p in [*adapter.rglob("*"), *(tmp_path / "export").rglob("*")] if p.is_file()]
    assert len(written) > 10
    for path in written:
        content = path.read_bytes().lower()
        assert b"quokka" not in content, path
