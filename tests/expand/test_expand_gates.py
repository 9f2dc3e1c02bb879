"""Only medicine passes, only knowledge passes, and what is changed on the way becomes a row."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from elara.expand import grounded_examples
from elara.expand.gates import answer_refusals, not_content
from elara.expand.languages import language_of
from elara.expand.medicine import MINIMUM, medicine
from elara.records import Article, Example, Section, frame, records

PROJECT = Path(__file__).resolve().parents[2]
GOLD = Path(__file__).parent / "gold" / "passages.csv"
HALVES = ("seen", "unseen", "final")
FACTS = (
    "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin value. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)


def article(title: str, text: str = "", **fields: object) -> Article:
    base: dict[str, object] = {"source": "pubmed", "language": "en", "redistributable": True}
    base |= {"licence": "CC0-1.0", "abstract": text}
    return Article(id="x:1", title=title, **(base | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Anaemia in pregnancy", "Women with anaemia need iron during pregnancy."),
        ("Malaria in children", "Fever in a child after a mosquito bite may be malaria."),
        ("Statins after stroke", "Patients who take a statin have fewer strokes."),
        ("Machine learning reads mammograms", "A model finds breast cancer on mammography."),
        ("Enfermedad renal crónica", "El paciente con enfermedad renal necesita diálisis."),
        ("Homa ya malaria", "Dalili za malaria ni homa na maumivu; matibabu huanza hospitali."),
    ],
)
def test_medicine_passes(title: str, text: str) -> None:
    assert medicine(article(title, text)) >= MINIMUM


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Sharks of the reef", "Sharks hunt fish at night near the coral reef of the island."),
        ("How to tune a violin", "Turn the peg of the violin until the string gives the note."),
        ("Onion routing", "The router wraps a packet in layers of encryption, one for each node."),
        ("Gene networks of yeast", "A gene network of yeast evolves; plasma membranes vary."),
        ("Risk of early harvest", "Shock and stress of plants rise with drought in the soil."),
        ("Grinding coffee", "A cone grinder gives the coffee bean an even grind; I like it."),
        (
            "Iron complexes",
            "Cyclopentadienyl iron complexes with phosphine ligands form in toluene.",
        ),
    ],
)
def test_what_only_sounds_like_medicine_does_not(title: str, text: str) -> None:
    one = article(title, text)
    assert medicine(one) < MINIMUM
    (reason,) = grounded_examples(frame([one], Article), "s").skipped["reason"]
    assert reason == "not about medicine"


def test_the_source_counts() -> None:
    answers = article("Is it safe?", "Most people can have one a day.")
    page = article("Is it safe?", "Most people can have one a day.", source="medlineplus")
    site = article("Is it safe?", "Most people can have one a day.", source="stackexchange")
    assert medicine(site) < medicine(answers) < medicine(page)


def test_headings_without_people_and_the_journal_count() -> None:
    text = "Fluid was seen in the chest on imaging."
    people, animals = (
        medicine(article("Fluid", text, mesh=mesh)) for mesh in (["Humans"], ["Animals"])
    )
    assert animals < people < medicine(article("Fluid", text, mesh=["Humans"], journal="Cancer"))
    veterinary = article("Surgery in dogs", text, journal="Journal of veterinary research")
    assert medicine(veterinary) < MINIMUM


@pytest.mark.parametrize(
    "heading",
    [
        "2. Statistical analysis",
        "Methods: Animals",
        "Animals",
        "Findings",
        "Acknowledgments",
        "Competing interests",
        "Data availability",
        "Appendix B",
        "Author's contributions",
        "Figures and tables",
    ],
)
def test_headings_of_making_and_publishing(heading: str) -> None:
    assert not_content(heading)


@pytest.mark.parametrize(
    "heading",
    [
        "Strains and sprains",
        "Contact dermatitis",
        "Ruptured appendix",
        "Preventive measures",
        "Chorionic villus sampling",
        "Laboratory findings",
        "What do the test results mean?",
        "Isolation of patients",
        "Treatment protocol",
        "Measurement of blood pressure",
        "Living in low-resource settings",
    ],
)
def test_headings_that_only_look_like_it(heading: str) -> None:
    assert not not_content(heading)


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("We think so.", "speaks of itself"),
        ("I had it, too.", "speaks of itself"),
        ("Ask my doctor.", "speaks of itself"),
        ("This study was small.", "speaks of itself"),
        ("To our knowledge, it is rare.", "speaks of itself"),
        ("It falls (Fig. 3).", "points elsewhere"),
        ("See the table below.", "points elsewhere"),
        ("Click the brackets to enlarge the video.", "points elsewhere"),
        ("Read https://example.org about it.", "points elsewhere"),
        ("These resources address the diagnosis.", "points elsewhere"),
        ("The protocol was approved by the ethics committee.", "tells how a study was made"),
        ("Cells were incubated and washed in PBS.", "tells how a study was made"),
        ("It was higher (n = 12, p < 0.05).", "tells how a study was made"),
        ("Men were older, had less, were ill and had more.", "tells how a study was made"),
        ("The aim of this work is to look.", "speaks of itself"),
        ("The aim of the work is to look.", "tells how a study was made"),
        ("Of 36 patients, iron cured 12 (33%).", "tells how a study was made"),
        ("The effects of iron on sleep were studied.", "tells how a study was made"),
        ("Purpose of review: to look.", "tells how a study was made"),
        ("The institute conducts and supports research.", "tells how a study was made"),
        ("The following chart shows it.", "points elsewhere"),
        ("More is to be found on the web site.", "points elsewhere"),
        ("The present overview connects them.", "speaks of itself"),
        ("These findings suggest a cause.", "speaks of itself"),
        ("It is off-topic on this site.", "talks about its site"),
    ],
)
def test_a_passage_is_refused_by_its_words(sentence: str, rule: str) -> None:
    (refusal, *_) = answer_refusals(f"{FACTS} {sentence}", "en")
    assert refusal[0] == rule
    assert refusal[1]


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "The vaccine was licensed in 1963.",
        "Type I is seen in children, type II in adults; stage I is mild.",
        "Weakness of the body was found to be common in the US.",
        "Mice and rats carry the virus.",
        "The figure rises to 12 in a hundred, and a table of weights helps.",
        "Our bodies need iron.",
        "Treatment aims to relieve pain; the objective of care is comfort.",
        "It was approved by the FDA.",
        "About 1 in 36 patients needs more, some 5 million men and 2 out of 12 women.",
        "MPS I can be severe, apoA-I binds fat, and Chiari I may need surgery.",
        "Cancer of the appendix is rare.",
        "Type 2 diabetic patients, and stage 3 patients, may get it.",
        "These results were recently confirmed in humans.",
        "Ask about the site of the pain; the owner, the bower and the power of a tower.",
    ],
)
def test_knowledge_passes(sentence: str) -> None:
    assert not list(answer_refusals(f"{FACTS} {sentence}".strip(), "en"))


def test_under_a_heading_of_results_less_is_enough() -> None:
    told = f"{FACTS} The mean age rises."
    assert not list(answer_refusals(told, "en"))
    (refusal,) = answer_refusals(told, "en", "Experiment 2: Results")
    assert refusal == ("tells how a study was made", "results; mean age")
    assert not list(answer_refusals(told, "en", "What do the test results mean?"))
    assert not list(answer_refusals(FACTS, "en", "Results: Iron"))


def test_in_a_review_more_is_knowledge() -> None:
    told = f"{FACTS} It was seen that the mean age rises."
    assert list(answer_refusals(told, "en"))
    assert not list(answer_refusals(told, "en", kinds=["Journal Article", "Review"]))
    assert not list(answer_refusals(f"{FACTS} The mean age rises.", "en"))
    (refusal,) = answer_refusals(f"{FACTS} The mean age rises.", "en", kinds=["Clinical Trial"])
    assert refusal == ("tells how a study was made", "Trial; mean age")
    again = "In vitro, " * 9
    assert not list(answer_refusals(f"{FACTS} {again}", "en"))


def test_what_others_found_is_knowledge() -> None:
    told = f"{FACTS} Iron showed an effect in vitro."
    assert list(answer_refusals(told, "en"))
    assert not list(answer_refusals(f"{told} Several studies confirm it.", "en"))
    assert list(answer_refusals(f"{told} Several studies confirm it; mean age fell.", "en"))


def test_the_results_of_an_abstract_are_results() -> None:
    results = f"BACKGROUND: {FACTS}\nMETHODS: Iron.\nRESULTS: {FACTS} The mean age rises."
    made = grounded_examples(frame([article("Iron", results)], Article), "s")
    assert made.examples.is_empty()
    assert made.rejected.select("rule", "evidence").rows() == [
        ("tells how a study was made", "results; mean age")
    ]
    review = article("Iron", results, publication_types=["Review"])
    assert grounded_examples(frame([review], Article), "s").examples.height == 1


def test_authors_speak_of_themselves_in_other_languages() -> None:
    text = "Nuestro estudio muestra que la anemia es frecuente en pacientes con sangrado. " * 3
    assert [rule for rule, _ in answer_refusals(text, "es")] == ["speaks of itself"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", FACTS),
        ("es", "La anemia es una enfermedad frecuente en los pacientes que tienen un sangrado."),
        ("fr", "L'anémie est une maladie fréquente chez les patients qui ont un saignement."),
        ("pt", "A anemia é uma doença frequente nos pacientes que não têm um tratamento."),
        ("sw", "Ugonjwa huu una dalili nyingi na matibabu ya haraka ni muhimu kwa afya ya watu."),
    ],
)
def test_small_words_tell_a_language(code: str, text: str) -> None:
    assert language_of(text) == code
    assert language_of(text, "de") == code
    assert language_of(text, code) == code


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ha", "Cutar ta yadu cikin mutane da yawa kuma ba ta da magani; wannan yana da wuya."),
        ("ln", "Maladi oyo ezali na bato mingi mpe nkisi na yango ezali te na bisika nyonso."),
        ("es", "Nombre: X. Edad: 40. Sexo: H. País: Y. " * 9 + "El paciente tiene una tos. " * 9),
        ("fr", "L'iode, l'urée, d'où l'hôpital qu'on a vu: n'est-ce l'été d'hier?"),
    ],
)
def test_neighbours_and_long_heads_are_told_apart(code: str, text: str) -> None:
    assert language_of(text) == code


def test_without_small_words_what_is_stated_counts() -> None:
    assert language_of("Acute appendicitis, computed tomography", "fr") == "fr"
    assert language_of("Acute appendicitis, computed tomography") == "und"


def test_a_wrong_or_missing_language_is_decided_by_the_words_and_noted() -> None:
    spanish = "La anemia es una enfermedad frecuente en los pacientes con un sangrado crónico. "
    page = Section("", spanish * 3)
    made = grounded_examples(frame([article("Anemia", body=[page])], Article), "s")
    (example,) = records(made.examples, Example)
    assert example.language == "es"
    assert example.messages[1].content.startswith("¿")
    assert made.noted.select("what", "detail").rows() == [
        ("language", "es by its words, en as stated")
    ]
    assert grounded_examples(
        frame([article("Anemia", body=[page])], Article), "s", languages=["en"]
    ).skipped["reason"].to_list() == ["language es is not among `languages`"]
    unknown = article("Anaemia", "Anaemia: iron, folate, ferritin.", language="und")
    (reason,) = grounded_examples(frame([unknown], Article), "s").skipped["reason"]
    assert reason == "no language is stated, and its words do not tell"


def test_a_cut_answer_is_noted() -> None:
    long = article("Iron", " ".join([FACTS] * 9))
    made = grounded_examples(frame([long], Article), "s", max_answer_words=70)
    assert made.examples.height == 1
    assert made.noted.rows() == [("x:1", "key_points", "abstract", "answer cut", "64 of 288 words")]
    whole = grounded_examples(frame([article("Iron", FACTS)], Article), "s")
    assert whole.noted.is_empty()


def test_the_gold_list_is_whole_and_the_benchmark_read_it() -> None:
    with GOLD.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["sha256"] for row in rows}) == 447
    assert Counter(row["half"] for row in rows) == {"seen": 126, "unseen": 126, "final": 195}
    articles = {half: {r["article_id"] for r in rows if r["half"] == half} for half in HALVES}
    assert not articles["final"] & (articles["seen"] | articles["unseen"])
    for name in ("medicine", "content"):
        for row in rows:
            labels = {row[f"{name}_1"], row[f"{name}_2"]}
            assert labels <= {"y", "n"}
            assert row[name] in labels  # what both say, or one of the two where they differ
    published = json.loads((PROJECT / "benchmarks" / "gates.json").read_text(encoding="utf-8"))
    assert published["labelled"] == 447
    for half in HALVES:
        here = [row for row in rows if row["half"] == half]
        medical = sum(row["medicine"] == "y" for row in here)
        kept = published["halves"][half]["medicine"]["kept"]["recall"]
        assert kept["of"] <= medical
