"""A written table gives an article its specialty, and says by which words."""

from __future__ import annotations

import csv
import json
import runpy
from collections import Counter
from pathlib import Path

import pytest

from elara.collect.topics import load_topics
from elara.expand import specialties
from elara.expand.report import confusion_figure
from elara.expand.specialties import classify, load_table, specialty_of, weigh
from elara.records import Article, Section

GOLD = Path(__file__).parent / "gold" / "specialties.csv"


def gold() -> list[dict[str, str]]:
    with GOLD.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_the_labels_of_the_collection() -> None:
    assert load_table().specialties == [*load_topics().labels, "General"]


# Made-up titles; the first rows are the kinds that earlier labels got wrong.
TITLES = {
    "Tick-borne diseases in travellers": "Infectious Disease",
    "Hand hygiene on the ward": "Infectious Disease",
    "Snakebite in rural clinics": "Emergency Medicine",
    "Shoulder-tip pain in ruptured ectopic pregnancy": "OB/GYN",
    "Heart failure with reduced ejection fraction": "Cardiology",
    "Cardiac arrest outside hospital": "Emergency Medicine",
    "Chronic kidney disease in adults": "Internal Medicine",
    "Haemophilia and joint bleeds": "Hematology",
    "Myasthenia gravis": "Neurology",
    "Growth charts for infants": "Pediatrics",
    "Laparoscopic repair of inguinal hernia": "Surgery/Trauma",
    "Computed tomography of the pancreas: image quality": "Radiology",
    "Treatment of bipolar disorder": "Psychiatry",
    "Epidermolysis bullosa": "Dermatology",
    "Fractures of the distal radius": "Orthopedics",
    "Cataract and other causes of poor vision": "General",
    "Writing a curriculum for medical students": "General",
    "A list": "General",
}


@pytest.mark.parametrize("title", TITLES)
def test_titles_give_their_specialty(title: str) -> None:
    assert weigh(title).specialty == TITLES[title]


def test_headings_count_also_inverted_ones_and_listed_ones() -> None:
    assert weigh("A trial", ["Humans", "Hypertension, Pulmonary"]).specialty == "Cardiology"
    assert weigh("A trial", ["Humans", "Anti-Bacterial Agents"]).specialty == "Infectious Disease"


def test_spelling_plural_and_accents_do_not_matter() -> None:
    for one, other in (
        ("Anaemias", "anemia"),
        ("Oesophagitis", "esophagitis"),
        ("Guillain-Barré syndrome", "guillain barre syndrome"),
    ):
        assert weigh(one).scores == weigh(other).scores != {}


def test_the_longest_term_wins_and_counts_once() -> None:
    terms = [e.term for e in weigh("Cardiac arrest").evidence]
    assert "cardiac arrest" in terms
    assert "cardi*" not in terms


def test_a_technique_in_the_title_goes_before_the_organ() -> None:
    assert weigh("Pancreatic cancer").specialty == "Internal Medicine"
    assert weigh("Ultrasound in pancreatic cancer").specialty == "Radiology"


def test_how_something_was_seen_is_no_subject() -> None:
    title = "Effects of a drug on coronary atherosclerosis, evaluated using computed tomography"
    assert weigh(title).specialty == "Cardiology"
    assert weigh("Computed tomography of coronary atherosclerosis").specialty == "Radiology"


def test_the_note_of_an_operation_is_the_surgeons() -> None:
    note = "PREOPERATIVE DIAGNOSIS: Phimosis. PROCEDURE PERFORMED: Dorsal slit. The penis healed."
    verdict = weigh("Dorsal slit", (), (), note)
    assert verdict.specialty == "Surgery/Trauma"
    assert "note of an operation" in {e.term for e in verdict.evidence}
    title = "Coronary angiography"
    assert weigh(title, (), (), note).specialty == "Cardiology"


def test_an_organ_beside_the_laboratory_is_biology_and_a_disease_is_not() -> None:
    text = "The enzyme was bound by an antibody in vitro."
    assert weigh("Kinase phosphorylation in the brain", (), (), text).specialty == "General"
    assert weigh("Kinase phosphorylation in epilepsy", (), (), text).specialty == "Neurology"


def test_young_animals_are_no_patients() -> None:
    title = "Stroke in newborn lambs"
    assert weigh(title, ["Humans"]).specialty == "Pediatrics"
    assert weigh(title, ["Animals"]).specialty == "Neurology"


def test_a_name_of_several_organs_is_a_malformation_syndrome() -> None:
    verdict = weigh("Cardiomyopathy, ichthyosis and ataxia")
    assert verdict.specialty == "Pediatrics"
    assert "several organs" in {e.term for e in verdict.evidence}


def test_the_verdict_says_what_decided() -> None:
    article = Article(
        id="pubmed:1",
        source="pubmed",
        title="Sickle cell disease",
        abstract="Transfusion helps. Stroke is a danger.",
        mesh=["Humans", "Anemia, Sickle Cell"],
    )
    verdict = classify(article)
    assert specialty_of(article) == verdict.specialty == "Hematology"
    first = verdict.evidence[0]
    assert (first.specialty, first.term, first.place) == ("Hematology", "sickle*", "title")
    assert {e.place for e in verdict.evidence} == {"title", "opening", "text", "heading", "first"}
    assert next(iter(verdict.scores)) == "Hematology"


def test_the_body_is_read_where_there_is_no_abstract_but_no_translation() -> None:
    told = Article(id="own:1", source="own", title="Notes")
    told.body = [Section("", "Psoriasis is a disease of the skin."), Section("", "L'asthme.")]
    assert specialty_of(told) == "Dermatology"
    told.body = [Section("Abstract (en)", "Psoriasis is a disease.", "translation")]
    assert specialty_of(told) == "General"


@pytest.mark.parametrize("name", ["*", "a*b", "heart* failure"])
def test_a_term_that_cannot_be_looked_up_is_named(name: str) -> None:
    table = specialties._Table(["General"], {}, {}, {}, {}, {})
    with pytest.raises(ValueError, match=r"at one end") as error:
        specialties._add(table, name, (("General", "settles"),))
    assert repr(name) in str(error.value)


def test_a_term_that_stands_there_twice_is_named() -> None:
    table = specialties._Table(["General"], {}, {}, {}, {}, {})
    specialties._add(table, "anaemia", (("General", "settles"),))
    with pytest.raises(ValueError, match="'Anemias' is the same as 'anaemia'"):
        specialties._add(table, "Anemias", (("General", "hints"),))


def test_the_gold_list_is_large_enough_and_halved() -> None:
    rows = [row for row in gold() if row["half"]]
    assert len({row["id"] for row in rows}) == len(rows) >= 420
    assert min(Counter(row["specialty"] for row in rows).values()) >= 30
    assert {row["specialty"] for row in rows} == set(load_table().specialties)
    halves = Counter(row["half"] for row in rows)
    assert set(halves) == {"seen", "unseen"}
    assert min(halves.values()) >= 0.45 * len(rows)
    assert all(row["first_reader"] and row["second_reader"] for row in gold())


@pytest.mark.slow
def test_the_specialties_of_readers_are_found(project: Path, shared_data: Path) -> None:
    bench = runpy.run_path(str(project / "benchmarks" / "specialties.py"))
    assert bench["agreement"]()["all"]["kappa"] >= 0.95
    found = bench["pairs"](shared_data)
    assert bench["macro_f1"](found["seen"]) >= 0.9
    assert bench["macro_f1"](found["unseen"]) >= 0.82


def test_the_published_figures_are_of_this_list(project: Path) -> None:
    path = project / "benchmarks" / "specialties.json"
    published = json.loads(path.read_text(encoding="utf-8"))
    items = Counter(row["specialty"] for row in gold() if row["half"] == "unseen")
    assert {k: sum(v.values()) for k, v in published["unseen"]["matrix"].items()} == items


def test_the_figure_shows_every_number() -> None:
    figure = confusion_figure({"Cardiology": {"Cardiology": 8, "General": 2}, "General": {}})
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["8", "2"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["Cardiology", "General"]
