"""Abstracts in other languages give examples in their own, and rows where they do not."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import polars as pl
import pytest

from elara.audit.certificate import certify
from elara.collect import collect_folder
from elara.expand import Examples, grounded_examples, topic_clusters, validate
from elara.expand.cautions import caution, drugs
from elara.expand.drugnames import translated_drugs
from elara.expand.recipes import Expansion, quoted
from elara.expand.studies import study
from elara.expand.support import unsupported
from elara.model import SYSTEM_PROMPT
from elara.records import Article, Example, Section, frame, records

ENGLISH = (
    "Iron deficiency is the commonest cause of anaemia in adults, found by a low ferritin value. "
    "Treatment replaces the iron, and the source of the bleeding is looked for in every patient."
)
# One text in four languages; the last sentence names a drug.
SPANISH = (
    "La falta de hierro es la causa más frecuente de anemia en los adultos, y se reconoce por un "
    "valor bajo de ferritina. El tratamiento repone el hierro, y se busca el origen del sangrado "
    "en cada paciente con ibuprofeno."
)
FRENCH = (
    "Le manque de fer est la cause la plus fréquente d'anémie chez les adultes, et il est reconnu "
    "par une valeur basse de la ferritine. Le traitement remplace le fer, et la source du "
    "saignement est recherchée chez tous les patients."
)
PORTUGUESE = (
    "A falta de ferro é a causa mais frequente de anemia nos adultos, e é reconhecida por um valor "
    "baixo de ferritina. O tratamento repõe o ferro, e a origem do sangramento é procurada em "
    "todos os pacientes com a doença."
)
SWAHILI = (
    "Upungufu wa madini ya chuma ni sababu kuu ya anemia kwa watu wazima, na hutambuliwa kwa "
    "kiwango cha chini cha feritini katika damu. Matibabu ni ya kurudisha madini hayo, na chanzo "
    "cha kutokwa na damu hutafutwa kwa kila mgonjwa."
)
RECORD = f"""<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version="1">1</PMID>
<Article><Journal><Title>J</Title></Journal><ArticleTitle>[Iron deficiency.]</ArticleTitle>
<Abstract><AbstractText>{ENGLISH}</AbstractText></Abstract><Language>spa</Language>
<VernacularTitle>La falta de hierro en las consultas de atención primaria.</VernacularTitle>
</Article>
<OtherAbstract Type="Publisher" Language="spa">
<AbstractText Label="Introducción">La anemia es frecuente.</AbstractText>
<AbstractText Label="Métodos">Se miró de algún modo.</AbstractText>
<AbstractText Label="Resultados">{SPANISH}</AbstractText>
<AbstractText Label="Conclusiones">{SPANISH}</AbstractText></OtherAbstract>
<OtherAbstract Type="Publisher" Language="por"><AbstractText>{PORTUGUESE}</AbstractText>
</OtherAbstract></MedlineCitation></PubmedArticle></PubmedArticleSet>"""


@pytest.fixture
def articles(tmp_path: Path) -> pl.DataFrame:
    """A record of PubMed with a title and abstracts in other languages, in a CC0 folder."""
    (tmp_path / "one.xml").write_text(RECORD, encoding="utf-8")
    return collect_folder(tmp_path, licence="CC0-1.0").articles.collect()


def expand(articles: pl.DataFrame, *languages: str) -> tuple[Expansion, list[Example]]:
    made = grounded_examples(articles, SYSTEM_PROMPT, languages=languages)
    return made, records(made.examples, Example)


def translated(text: str, code: str, *more: Section, **fields: str) -> pl.DataFrame:
    body = [Section(f"Abstract ({code})", text, "translation"), *more]
    named = {"title": "Iron deficiency in adults and its care.", "language": "en"} | fields
    one = Article(
        id="pubmed:1", source="pubmed", body=body, licence="CC0-1.0", redistributable=True, **named
    )  # type: ignore[arg-type]
    return frame([one], Article)


def test_a_translation_is_asked_and_answered_in_its_language(articles: pl.DataFrame) -> None:
    made, found = expand(articles, "en", "es", "pt")
    (article,) = records(articles, Article)
    told = {(one.recipe, one.language): one for one in found}
    assert set(told) == {
        ("conclusion", "es"), ("key_points", "en"), ("key_points", "es"), ("key_points", "pt")
    }  # fmt: skip
    assert len({one.id for one in found}) == len(found)
    for one in found:
        places = [(span.part, span.start, span.end) for span in one.spans]
        answer = one.messages[-1].content
        assert answer.partition("\n\n")[0] == quoted(article, places)
    spanish = told["conclusion", "es"].messages
    assert "La falta de hierro en las consultas de atención primaria" in spanish[1].content
    assert "¿" in spanish[1].content
    assert "Se miró de algún modo." in spanish[1].content  # the findings, without their labels
    assert "MÉTODOS" not in spanish[1].content
    assert spanish[2].content == f"{SPANISH}\n\n" + (
        "Texto educativo: un profesional comprueba fármaco, dosis, alergias e interacciones."
    )
    points = told["key_points", "es"].messages[2].content
    assert points.startswith("La anemia es frecuente. La falta")
    assert "Se miró" not in points  # how the study was made
    assert "Iron deficiency" in told["key_points", "pt"].messages[1].content  # no title of its own
    checked = validate(made.examples, articles, languages=["en", "es", "pt"])
    assert checked.rejected.is_empty()


def test_the_translation_is_used_where_the_articles_language_is_not_chosen(
    articles: pl.DataFrame,
) -> None:
    made, found = expand(articles, "es")
    assert {one.language for one in found} == {"es"}
    assert made.skipped.is_empty()
    left = made.rejected.filter(rule="language").select("recipe", "part", "evidence").rows()
    assert left == [
        ("key_points", "abstract", "en is not among `languages`"),
        ("key_points", "body/2", "pt is not among `languages`"),
    ]
    again, english = expand(articles, "en", "es")
    assert {one.id for one in found} <= {one.id for one in english}  # no id depends on the choice
    assert again.rejected.filter(rule="language").height == 1


def test_an_article_without_text_in_a_chosen_language_is_named(articles: pl.DataFrame) -> None:
    made, found = expand(articles, "fr")
    assert found == []
    assert made.skipped.rows() == [("pubmed:1", "language en is not among `languages`")]


@pytest.mark.parametrize(
    ("code", "text"), [("es", SPANISH), ("fr", FRENCH), ("pt", PORTUGUESE), ("sw", SWAHILI)]
)
def test_each_language_has_questions_and_passes_the_validators(code: str, text: str) -> None:
    title = Section(f"Title ({code})", text.partition(",")[0], "translation")
    articles = translated(text, code, title, abstract=ENGLISH)
    made, found = expand(articles, code)
    assert [one.language for one in found] == [code]
    assert title.text in found[0].messages[1].content
    assert "article" not in re.sub(r"l'article", "", found[0].messages[1].content)
    assert validate(made.examples, articles).rejected.is_empty()


def test_a_wrong_tag_is_refused_by_the_words() -> None:
    articles = translated(ENGLISH, "es", abstract="")
    made, found = expand(articles, "es")
    assert len(found) == 1
    (refusal,) = validate(made.examples, articles).rejected.to_dicts()
    assert (refusal["rule"], refusal["evidence"]) == ("language", "says es, reads en")


def test_the_certificate_reads_translations(articles: pl.DataFrame) -> None:
    made, _ = expand(articles, "es", "pt")
    exam = pl.DataFrame([{"id": "q", "question": SPANISH}])
    found = certify(made.examples, {"exam": exam}).rejected
    assert set(found["id"]) == {"pubmed:1/conclusion/0", "pubmed:1/key_points/1"}


def test_a_translation_stands_on_its_articles_side_of_a_split(articles: pl.DataFrame) -> None:
    made, _ = expand(articles, "en", "es", "pt")
    clusters, _ = topic_clusters(articles, Examples.of(made.examples))
    assert {clusters[name] for name in made.examples["article_ids"].list.first()} == {"pubmed:1"}


@pytest.mark.parametrize(
    ("language", "shown", "same", "other"),
    [
        ("es", "El riesgo bajó en 12 pacientes.", "El riesgo disminuye.", "El riesgo aumenta."),
        ("es", "Se trató a 12 pacientes.", "Se trató a pacientes.", "No se trató a pacientes."),
        ("es", "Se trató a 12 pacientes.", "Se trató a 12.", "Se trató a 13."),
        ("es", "Se trató con hierro.", "Se trató con hierro.", "Se trató con amoxicillin."),
        ("fr", "Le risque a diminué.", "Le risque est réduit.", "Le risque est augmenté."),
        ("fr", "Le fer est donné.", "Le fer est donné.", "Le fer n'est donné."),
        ("pt", "O risco diminuiu.", "O risco foi reduzido.", "O risco aumentou."),
        ("pt", "O ferro foi dado.", "O ferro foi dado.", "O ferro não foi dado."),
        ("sw", "Hatari ilipungua.", "Hatari imepungua.", "Hatari imeongezeka."),
        ("sw", "Dawa ilitolewa.", "Dawa ilitolewa.", "Dawa haikutolewa."),
        ("sw", "Ugonjwa wa ini.", "Ugonjwa wa ini.", "Ugonjwa wa hepatitis."),
    ],
)
def test_no_language_concludes_what_its_findings_do_not_show(
    language: str, shown: str, same: str, other: str
) -> None:
    assert unsupported(same, shown, language) == ""
    assert unsupported(other, shown, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("es", "El objetivo de este trabajo es conocer el dolor. Es frecuente en los adultos."),
        ("es", "Se incluyeron 40 pacientes con asma y se analizaron sus historias clínicas."),
        ("es", "El dolor fue leve, la fiebre fue alta, la tos fue seca y la voz era ronca."),
        ("fr", "Les dossiers de 40 patients ont été analysés, avec leur consentement éclairé."),
        (
            "fr",
            "La toux était sèche, la fièvre était haute, la voix était rauque et ils avaient mal.",
        ),
        ("pt", "Foram incluídos 40 pacientes com asma. A dor é frequente nos adultos."),
        ("pt", "Realizou-se um estudo transversal com 40 pacientes com asma."),
        ("sw", "Lengo la utafiti ni kujua maumivu. Washiriki walikuwa watu wazima."),
    ],
)
def test_how_a_study_was_made_is_no_knowledge_in_any_language(language: str, text: str) -> None:
    assert study(text, language)
    assert study(text, "en") == ""  # English has a longer table, see `elara.expand.gates`
    long = f"{text} {text}"
    made, found = expand(translated(long, language, abstract=ENGLISH), language)
    assert found == []
    (row,) = made.rejected.filter(part="body/0").to_dicts()
    assert row["rule"] in {"tells how a study was made", "speaks of itself", "short answer"}


@pytest.mark.parametrize(
    ("language", "file"), [("es", "en-es-LA"), ("fr", "en-fr"), ("sw", "en-sw")]
)
def test_little_of_what_is_told_to_the_public_counts_as_a_study(
    shared_data: Path, language: str, file: str
) -> None:
    with gzip.open(shared_data / "multilingual" / "tico19" / f"{file}.jsonl.gz", "rt") as lines:
        said = [json.loads(line)["text"] for line in lines]
    passages = [" ".join(said[n : n + 3]) for n in range(0, len(said), 3)]
    refused = sum(bool(study(passage, language)) for passage in passages)
    assert 0 < refused < 0.05 * len(passages)  # some of these sentences do report studies


@pytest.mark.parametrize(
    ("language", "named", "none"),
    [
        (
            "es",
            "metformina, amoxicilina, omeprazol, ciprofloxacino, ibuprofeno, insulina, estatinas",
            "La rutina de servir la medicina, la orina, la página, la persona y la proteína.",
        ),
        (
            "fr",
            "metformine, amoxicilline, paracétamol, ibuprofène, héparine, prednisolone",
            "La côte africaine, la machine, servir, l'origine, la routine et la médecine.",
        ),
        (
            "pt",
            "metformina, amoxicilina, omeprazol, ibuprofeno, heparina, losartana, dipirona",
            "A rotina de servir a medicina, a urina, a página, a pessoa e a proteína.",
        ),
        ("sw", "parasetamoli, insulini, artemether", "Ugonjwa wa malaria una dalili nyingi."),
    ],
)
def test_drugs_are_known_as_each_language_writes_them(language: str, named: str, none: str) -> None:
    assert translated_drugs(named, language, drugs(named)) == set(named.split(", "))
    assert caution(named, language)
    assert translated_drugs(none, language, drugs(none)) == set()
    assert caution(none, language) == ""


def test_each_real_translation_gives_examples_or_a_row(shared_data: Path) -> None:
    articles = collect_folder(shared_data / "pubmed" / "result_sets").articles.collect()
    told = articles.explode("body").unnest("body").filter(kind="translation")
    foreign = told.filter(pl.col("heading").str.starts_with("Abstract ("))
    made = grounded_examples(articles, "s", licences="any")
    rows = made.rejected.filter(pl.col("rule") == "language")
    left = set(foreign["id"]) & set(made.skipped["article_id"]) - set(rows["article_id"])
    assert foreign.height >= 4
    assert rows.height + len(left) == foreign.height
    assert set(rows["evidence"]) == {"ru is not among `languages`", "zh is not among `languages`"}
