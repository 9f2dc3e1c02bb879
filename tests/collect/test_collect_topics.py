"""The 108 topics, the African batches, their syntax, and what a harvest covers of them."""

from __future__ import annotations

import gzip
import html
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pubmed_syntax import LONGEST, OPERATORS, TAGS, check_query

from elara.collect.africa import countries, load_countries
from elara.collect.report import coverage, coverage_figure
from elara.collect.topics import (
    african_batches,
    african_health,
    europepmc,
    load_searches,
    load_topics,
)

DESCRIPTOR = re.compile(r'"([^"]+)"\[(?:MeSH Terms|mh)\]')


def xml_of(folder: Path) -> str:
    """All XML below a folder as one text, unpacked and with its entities resolved."""
    files = sorted([*folder.rglob("*.xml"), *folder.rglob("*.xml.gz")])
    payloads = [gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes()
                for f in files]  # fmt: skip
    return html.unescape(b"\n".join(payloads).decode("utf-8", "replace"))


# Topics


def test_there_are_108_topics_over_all_13_specialties() -> None:
    searches = load_searches()
    assert len(searches) == 108
    labels = [s.specialty for s in searches]
    assert list(dict.fromkeys(labels)) == load_topics().labels
    assert min(map(labels.count, set(labels))) >= 8


@pytest.mark.parametrize("field", ["id", "name", "query"])
def test_no_two_topics_share(field: str) -> None:
    values = [getattr(s, field).casefold() for s in load_searches()]
    assert sorted(values) == sorted(set(values))


def test_ids_are_kebab_case() -> None:
    ids = [s.id for s in load_searches()] + [b.id for b in african_batches()]
    assert [i for i in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", i)] == []


def test_every_topic_is_sought_by_mesh_and_by_words() -> None:
    for search in load_searches():
        assert "[MeSH Terms]" in search.query, search.id
        assert "[Title/Abstract]" in search.query, search.id


@pytest.mark.parametrize(
    ("british", "american"),
    [("aemia", "emia"), ("haem", "hem"), ("paediatric", "pediatric"), ("caesarean", "cesarean"),
     ("ischaemi", "ischemi"), ("leukaemia", "leukemia"), ("immunisation", "immunization")],
)  # fmt: skip
def test_words_come_in_british_and_american_spelling(british: str, american: str) -> None:
    for search in load_searches():
        words = re.findall(r'"([^"]+)"\[Title/Abstract\]', search.query)
        missing = [w for w in words if british in w and w.replace(british, american) not in words]
        assert missing == [], search.id


def test_real_records_confirm_mesh_descriptors(shared_data: Path) -> None:
    text = xml_of(shared_data / "pubmed") + xml_of(shared_data / "terms" / "mesh")
    seen = set(re.findall(r"<DescriptorName[^>]*>\s*(?:<String>)?\s*([^<]+?)\s*<", text))
    queries = [s.query for s in load_searches()] + [b.query for b in african_batches()]
    ours = {name for query in queries for name in DESCRIPTOR.findall(query)}
    assert len(ours & seen) >= 70, sorted(ours - seen)


# Syntax


@pytest.mark.parametrize(
    "query",
    [*(pytest.param(s.query, id=s.id) for s in load_searches()),
     *(pytest.param(b.query, id=b.id) for b in african_batches())],
)  # fmt: skip
def test_every_query_is_well_formed(query: str) -> None:
    assert check_query(query) == ""


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", "character 1: the query ends where a term is expected"),
        ('"heart failure"[titel]', "character 16: unknown field tag [titel]"),
        ("heart failure[ti]", "character 7: no operator before failure"),
        ("heart and lung", "character 7: operator and must be in capitals"),
        ("heart AND ()", "character 12: ) where a term is expected"),
        ('"heart', 'character 1: " without its partner'),
        ("heart[ti", "character 6: [ without its partner"),
        ("(heart", "character 1: ( without its partner"),
        ("heart)", "character 6: ) without its partner"),
        ("heart OR", "character 9: the query ends where a term is expected"),
        ("NOT heart", "character 1: NOT where a term is expected"),
        ("a OR b AND c", "character 8: AND after OR: set parentheses to say which is first"),
        ("(a OR b)[ti]", "character 9: field tag [ti] does not follow a term"),
        ("a[ti][tiab]", "character 6: field tag [tiab] does not follow a term"),
        ('""[ti]', 'character 1: nothing to search for in ""'),
        ("hea*[ti]", "character 1: hea*: * needs at least four letters before it"),
        ("h*rt", "character 1: h*rt: one * is allowed, at the end of a term"),
        ("heart*[mh]", "character 1: heart*: a MeSH heading cannot be cut off with *"),
        ('"heart"[ti:noexp]', "character 8: unknown field tag [ti:noexp]"),
        ("a" * (LONGEST + 1), "4001 characters: at most 4000 are allowed"),
    ],
)
def test_a_mistake_is_named_with_its_place(query: str, problem: str) -> None:
    assert check_query(query) == problem


WORDS = st.sampled_from(["heart", "malaria", "type 2 diabetes", "COVID-19", "N'Djamena", "child"])
SPELT = st.sampled_from([*TAGS, *TAGS.values()])
TERMS = st.one_of(
    st.builds('"{}"[{}]'.format, WORDS, SPELT),
    st.builds('"{}"[{}:noexp]'.format, WORDS, st.sampled_from(["mh", "MeSH Terms", "majr"])),
    st.builds('"{} attack"[{}:~{}]'.format, WORDS, st.sampled_from(["ti", "tiab", "ad"]),
              st.integers(0, 99)),
    st.builds("{}*[{}]".format, st.sampled_from(["vaccin", "malari"]), st.sampled_from(["tiab"])),
    st.builds('"{}"'.format, WORDS),
)  # fmt: skip


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Two to four parts with one operator between them."""
    lists = st.lists(parts, min_size=2, max_size=4)
    return st.builds(lambda op, some: f" {op} ".join(some), st.sampled_from(OPERATORS), lists)


QUERIES = joined(st.recursive(TERMS, lambda p: joined(p).map("({})".format), max_leaves=8))


@given(QUERIES)
def test_what_follows_the_rules_passes(query: str) -> None:
    assert check_query(query) == ""


@given(QUERIES, st.data())
def test_any_corruption_is_found(query: str, data: st.DataObject) -> None:
    def somewhere(pattern: str) -> re.Match[str]:
        return data.draw(st.sampled_from(list(re.finditer(pattern, query))))

    kind = data.draw(st.sampled_from(["sign", "operator", "case", "twice", "tag", "group"]))
    if kind == "sign":  # a quote, bracket or parenthesis goes missing
        found, put = somewhere(r'["\[\]()]'), ""
    elif kind == "operator":
        found, put = somewhere(r" (AND|OR|NOT) "), " "
    elif kind == "case":
        found = somewhere(r"AND|OR|NOT")
        put = found[0].lower()
    elif kind == "twice":
        found = somewhere(r"AND|OR|NOT")
        put = f"{found[0]} {found[0]}"
    elif kind == "tag":
        found = somewhere(r'(?<=["*])(\[[^\]]*\])?(?= |\)|$)')
        put = "[no such tag]"
    else:
        found, put = somewhere(r'("[^"]*"|\w+\*)(\[[^\]]*\])?'), "()"
    corrupt = query[: found.start()] + put + query[found.end() :]
    assert check_query(corrupt) != "", corrupt


@given(st.text(alphabet='ab"*[]() ORANDti', max_size=40))
def test_any_text_gets_an_answer(text: str) -> None:
    assert isinstance(check_query(text), str)


def test_the_tags_are_pubmeds(shared_data: Path) -> None:
    answer = (shared_data / "pubmed" / "biopython_entrez" / "einfo2.xml").read_text()
    fields = {name.lower() for name in re.findall(r"<FullName>([^<]+)</FullName>", answer)}
    assert {"mesh terms", "title/abstract", "title", "affiliation"} <= fields & set(TAGS)


# Europe PMC


def test_a_query_is_put_into_europe_pmcs_words() -> None:
    said = europepmc('("Malaria"[MeSH Terms] OR malari*[tiab]) AND ("Chad"[ad] NOT "x y"[ti])')
    assert said == '(KW:"Malaria" OR TITLE_ABS:malari*) AND (AFF:"Chad" NOT TITLE:"x y")'


def test_what_europe_pmc_has_no_field_for_is_an_error() -> None:
    with pytest.raises(KeyError, match="majr"):
        europepmc('"Heart"[majr]')


# Africa


def test_there_are_54_countries_in_order() -> None:
    names = [c.name for c in load_countries()]
    assert len(set(names)) == 54
    assert names == sorted(names, key=lambda n: n.replace("ô", "o").replace("ã", "a"))


def test_five_batches_name_every_country_for_both_services() -> None:
    assert len(african_batches()) == 5
    for batch in african_batches():
        assert "{" not in batch.query + batch.europepmc
        assert batch.europepmc.startswith("SRC:MED AND (")
        for country in load_countries():
            assert f'"{country.name}"[' in batch.query, (batch.id, country.name)
            assert f':"{country.name}"' in batch.europepmc, (batch.id, country.name)


def test_namesakes_are_sought_in_affiliations_only() -> None:
    query = african_batches()[0].query
    for name in ("Chad", "Guinea", "Niger"):
        assert f'"{name}"[tiab]' not in query
        assert f'"{name}"[ad]' in query
    assert '("Guinea"[ad] NOT "New Guinea"[ad])' in query
    assert '"Congo"[' not in query


def test_no_batch_asks_for_african_americans() -> None:
    for batch in african_batches():
        assert not re.search(r"african(?! traditional| region| countries| republic)|american",
                             batch.query.lower().replace("trypanosomiasis, african", "")
                             .replace("medicine, african traditional", ""))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Malaria in Côte d’Ivoire and Cote d'Ivoire", ["Côte d'Ivoire"]),
        ("MALARIA IN SOUTH SUDAN", ["South Sudan"]),
        ("Guinea pigs, New Guinea, Equatorial Guinea", ["Equatorial Guinea"]),
        ("Guinea-Bissau", ["Guinea-Bissau"]),
        ("Aspergillus niger in Nigeria", ["Nigeria"]),
        ("Chad, Niger and Guinea", []),
        ("Benin City", ["Nigeria"]),
        ("Benin", ["Benin"]),
        ("Sudan black staining", []),
        ("Valsa mali on apples", []),
        ("Crimean-Congo fever, Congo red", []),
        ("Kinshasa, Democratic Republic of Congo", ["Democratic Republic of the Congo"]),
        ("Republic of the Congo", ["Republic of the Congo"]),
        ("African American, Black or African American, Jordan, Kenyan", []),
        ("Kenya-based trial", ["Kenya"]),
        ("Swaziland, Cape Verde", ["Cabo Verde", "Eswatini"]),
    ],
)
def test_countries_of_a_text(text: str, expected: list[str]) -> None:
    assert countries(text, "", [], [], []) == expected
    assert countries("", text, [], [], []) == expected


def test_keywords_and_descriptors_name_countries_in_any_case() -> None:
    found = countries("", "", ["rural kenya", "tanzania", "niger"], ["Congo", "Guinea Pigs"], [])
    assert found == ["Republic of the Congo", "Tanzania"]
    assert countries("", "", [], ["Chad", "Papua New Guinea"], []) == ["Chad"]


@pytest.mark.parametrize(
    ("affiliation", "expected"),
    [
        ("Gamal Abdel Nasser University, Guinea.", ["Guinea"]),
        ("Institute of Medical Research, Goroka, Papua New Guinea.", []),
        ("CERMES, Niger. someone@example.org", ["Niger"]),
        ("Federal University, Minna, Niger State, Nigeria.", ["Nigeria"]),
        ("Department of Medicine, Chad Hall, Leeds, UK", []),
        ("Emory University, Atlanta, Georgia, USA; Amman, Jordan", []),
        ("University of Benin, Benin City", ["Nigeria"]),
        ("Faculté de Médecine, Monastir, Tunisie", ["Tunisia"]),
    ],
)
def test_countries_of_an_affiliation(affiliation: str, expected: list[str]) -> None:
    assert countries("", "", [], [], [affiliation]) == expected


def test_real_affiliations_that_end_in_a_country_are_found(shared_data: Path) -> None:
    text = xml_of(shared_data / "pubmed")
    found = re.findall(r"<Affiliation>([^<]+)</Affiliation>", text)
    tags = [countries("", "", [], [], [a]) for a in found]
    assert sum(map(bool, tags)) >= 231
    abroad = re.compile(r"(USA|UK|China|Japan|India|Germany|France)\.?$")
    assert [a for a, t in zip(found, tags, strict=True) if t and abroad.search(a)] == []


def test_african_health_of_a_table_that_is_still_to_be_read() -> None:
    titles = [
        "Malaria in Chad",
        "Malaria in Togo",
        "African American adults",
        "East Africa",
        "Kenyan",
    ]
    mesh = [["Chad"], [], [], [], []]
    table = pl.DataFrame({"title": titles, "keywords": [[]] * 5, "mesh": mesh})
    table = table.cast({"keywords": pl.List(pl.String), "mesh": pl.List(pl.String)})
    kept = african_health(table.lazy()).collect()
    assert kept["title"].to_list() == ["Malaria in Chad", "Malaria in Togo", "East Africa"]
    assert african_health(table).equals(kept)
    assert african_health(table.clear()).height == 0


# Coverage


def hits(*rows: tuple[str, str]) -> pl.DataFrame:
    """Answers of searches."""
    return pl.DataFrame(rows, schema={"topic": pl.String, "native_id": pl.String}, orient="row")


def test_coverage_counts_distinct_articles_found_and_kept() -> None:
    found = hits(("malaria", "1"), ("malaria", "1"), ("malaria", "2"), ("asthma", "1"))
    table = coverage(found, pl.LazyFrame({"pmid": ["1", "1", "", "9"]}))
    assert table.columns == ["id", "name", "specialty", "found", "kept"]
    assert table["id"].to_list() == [s.id for s in load_searches()]
    counts = {i: (f, k) for i, f, k in table.select("id", "found", "kept").rows()}
    assert (counts["malaria"], counts["asthma"], counts["sepsis"]) == ((2, 1), (1, 1), (0, 0))


def test_the_coverage_figure_labels_every_topic_once() -> None:
    table = coverage(hits(("malaria", "1")), pl.DataFrame({"pmid": ["1"]}))
    figure = coverage_figure(table)
    labels = [t.get_text() for axes in figure.axes for t in axes.get_yticklabels()]
    assert sorted(labels) == sorted([*table["name"], *load_topics().labels])
    coverage_figure(coverage(hits(), pl.DataFrame({"pmid": [""]})))
