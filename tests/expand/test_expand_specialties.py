"""A written table gives an article its specialty, and says by which words."""

from __future__ import annotations

import csv
import json
import runpy
from collections import Counter
from pathlib import Path

import pytest
import yaml

from elara.collect.topics import load_topics
from elara.expand import specialties, specialty_terms
from elara.expand.report import confusion_figure
from elara.expand.specialties import classify, specialty_of, weigh
from elara.expand.specialty_terms import load_table
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


# What a title names beside its subject does not make it another's.
BESIDE = {
    "Statins after stroke": "Neurology",
    "Rituximab in multiple sclerosis": "Neurology",
    "Antibiotics for appendicitis": "Surgery/Trauma",
    "Troponin in acute pancreatitis": "Internal Medicine",
    "Headache in the emergency department": "Neurology",
    "Asthma in children": "Pediatrics",
    "Pneumonia in children": "Infectious Disease",
    "Sickle cell disease in children": "Hematology",
    "Ultrasound of the hip in children": "Radiology",
    "Surgery for scoliosis": "Orthopedics",
    "Surgery for endometriosis": "OB/GYN",
    "Surgery for gallstones": "Surgery/Trauma",
    "Chemotherapy followed by surgery for lung cancer": "Internal Medicine",
    "Ultrasound-guided injection for pancreatitis": "Internal Medicine",
}


@pytest.mark.parametrize("title", BESIDE)
def test_what_stands_beside_a_subject_yields_to_it(title: str) -> None:
    assert weigh(title).specialty == BESIDE[title]


def test_a_drug_alone_names_its_specialty() -> None:
    for drug, specialty in (
        ("Rituximab", "Hematology"),
        ("Amoxicillin", "Infectious Disease"),
        ("Levodopa", "Neurology"),
        ("Fluoxetine", "Psychiatry"),
    ):
        assert weigh(drug).specialty == specialty


# Words that begin or end as a term does, and are none.
EVERYDAY = (
    "Scandinavia catalogue Livermore Boehringer coagulase thermogravimetry plication worthwhile "
    "Williamson Warsaw Marshall Simpson dichotomy Barthel Millard Kennedy biotinylated fumarate "
    "trabecular parity molar gist syntax duplex neglect pilot kangaroo sofa jaws"
)


@pytest.mark.parametrize("word", EVERYDAY.split(" "))
def test_everyday_words_settle_nothing(word: str) -> None:
    found = [e for e in weigh(word).evidence if e.group in ("leads", "ages", "settles")]
    assert not [e for e in found if e.specialty != "General"]


def test_the_table_is_in_order_and_has_no_other_groups() -> None:
    path = Path(specialty_terms.__file__).parent / "specialties.yaml"
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    blocks = [listed["nothing"], listed["tags"]]
    for groups in listed["specialties"].values():
        assert set(groups) <= set(specialties._POINTS)
        blocks += groups.values()
    for names in blocks:
        assert names == sorted(names, key=lambda n: (n.strip("*").casefold(), n))
        assert len(set(names)) == len(names)


def test_each_specialty_has_a_vocabulary() -> None:
    path = Path(specialty_terms.__file__).parent / "specialties.yaml"
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))["specialties"]
    sizes = {name: sum(map(len, groups.values())) for name, groups in listed.items()}
    assert min(sizes.values()) >= 200
    assert sum(sizes.values()) >= 9000


def test_headings_count_also_inverted_ones_and_listed_ones() -> None:
    assert weigh("A trial", ["Humans", "Hypertension, Pulmonary"]).specialty == "Cardiology"
    assert weigh("A trial", ["Humans", "Anti-Bacterial Agents"]).specialty == "Infectious Disease"


def test_headings_of_patients_are_no_subjects_but_children_alone_are() -> None:
    assert weigh("A trial", ["Humans", "Adolescent", "Adult"]).scores == {}
    verdict = weigh("A trial", ["Humans", "Child, Preschool", "Infant"])
    assert verdict.specialty == "Pediatrics"
    assert [e.term for e in verdict.evidence] == ["children only"]
    assert weigh("A trial", ["Humans", "Child", "Middle Aged"]).scores == {}


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


def test_several_organs_in_a_sentence_are_no_name_of_a_syndrome() -> None:
    title = "A study of cardiomyopathy, of ichthyosis and of ataxia in the patients of a town"
    assert "several organs" not in {e.term for e in weigh(title).evidence}


def test_signs_are_read_and_not_what_stands_before_every_list_of_them() -> None:
    form = (
        "The Human Phenotype Ontology provides the following list of signs and symptoms for it. "
        "Approximate number of patients (when available) "
    )
    article = Article(id="own:1", source="own", title="A rare name")
    article.body = [Section("", f"{form}{'Autosomal inheritance - ' * 8}Ichthyosis 90%")]
    assert specialty_of(article) == "Dermatology"


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
    table = specialty_terms.Table(["General"], {}, {}, {}, {}, {})
    with pytest.raises(ValueError, match=r"at one end") as error:
        specialty_terms._add(table, name, (("General", "settles"),))
    assert repr(name) in str(error.value)


def test_a_term_that_stands_there_twice_is_named() -> None:
    table = specialty_terms.Table(["General"], {}, {}, {}, {}, {})
    specialty_terms._add(table, "anaemia", (("General", "settles"),))
    with pytest.raises(ValueError, match="'Anemias' is the same as 'anaemia'"):
        specialty_terms._add(table, "Anemias", (("General", "hints"),))


def test_the_gold_list_is_large_enough_and_halved() -> None:
    twice = [row for row in gold() if row["list"] != "fresh"]
    rows = [row for row in twice if row["half"]]
    assert len({row["id"] for row in rows}) == len(rows) >= 420
    assert min(Counter(row["specialty"] for row in rows).values()) >= 30
    assert {row["specialty"] for row in rows} == set(load_table().specialties)
    halves = Counter(row["half"] for row in rows)
    assert set(halves) == {"seen", "unseen"}
    assert min(halves.values()) >= 0.45 * len(rows)
    assert all(row["first_reader"] and row["second_reader"] for row in twice)


def test_what_one_reader_labelled_is_in_no_half_that_is_published() -> None:
    fresh = [row for row in gold() if row["list"] == "fresh"]
    assert {row["half"] for row in fresh} == {"development"}
    assert all(row["first_reader"] and not row["second_reader"] for row in fresh)
    assert len({row["id"] for row in gold()}) == len(gold())


@pytest.mark.slow
def test_the_specialties_of_readers_are_found(project: Path, shared_data: Path) -> None:
    bench = runpy.run_path(str(project / "benchmarks" / "specialties.py"))
    assert bench["agreement"]()["all"]["kappa"] >= 0.95
    found = bench["pairs"](shared_data)
    assert bench["macro_f1"](found["seen"]) >= 0.9
    assert bench["macro_f1"](found["development"]) >= 0.9
    assert bench["macro_f1"](found["unseen"]) >= 0.85


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
