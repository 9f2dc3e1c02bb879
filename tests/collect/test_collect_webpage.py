"""Government pages: the article's own sentences are kept, and nothing that stands around it."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from folders import read_folder

from elara.collect import medlineplus, webpage
from elara.collect.maintext import main_text
from elara.collect.parsed import Parsed

# Near the beginning, the middle and the end of each article, chosen by reading the pages.
SENTENCES = {
    "eid/eid_article_11_10_05-0508_article.htm": (
        "We assessed the prevalence, risk factors, and clinical outcomes",
        "During the 2-year cohort period (January 1, 2002–December 31, 2003), 3,090 patients",
        "In summary, these data describe a high prevalence of patients co-colonized",
    ),
    "eid/eid_article_18_5_11-1275_article.htm": (
        "We determined yearly change in prevalence and risk factors for amebic colitis",
        "Risk factors for amebic colitis were age <50 years (OR 11.4, 95% CI 6.1–22.4)",
        "Numbers of patients with both infectious diseases studied are predicted to increase",
    ),
    "eid/eid_article_21_8_14-0956_article.htm": (
        "To evaluate the need to revaccinate laboratory workers against smallpox",
        "they had worked a mean of 20.5 years in the laboratory setting",
        "The risk to the US population from a release of smallpox has decreased considerably",
    ),
    "eid/eid_article_21_8_14-1251_article.htm": (
        "Health care services are increasingly delivered in outpatient settings.",
        "Outbreaks were reported 0–1,160 days after onset of the first case",
        "This analysis of outbreak investigations in Los Angeles County demonstrated",
    ),
    "eid/eid_article_21_8_et-2108_article.htm": (
        "A gram-negative, facultatively anaerobic rod,",
        "Castellani and Chalmers proposed the name",
        "it was not officially recognized until 1958",
    ),
    "mmwr/mmwr_preview_mmwrhtml_mm5650a1.htm": (
        "Carbon monoxide (CO) is a colorless, odorless, tasteless toxic gas",
        "a total of 35 states had sufficient numbers of CO-related deaths",
        "could help target prevention measures and reduce CO poisonings",
    ),
    "mmwr/mmwr_preview_mmwrhtml_mm5650a4.htm": (
        "On December 19, this report was posted as an MMWR Dispatch",
        "PedvaxHIB",
        "vac-gen/shortages/default.htm",
    ),
    "mmwr/mmwr_preview_mmwrhtml_mm6452a3.htm": (
        "Electronic cigarette (e-cigarette) use has increased considerably among U.S. youths",
        "Among high school students, 70.9% of respondents",
        "This report highlights youth exposure to e-cigarette advertisements",
    ),
    "mmwr/mmwr_preview_mmwrhtml_rr5416a1.htm": (
        "This report is the first of a two-part statement from the Advisory Committee",
        "Hepatitis B vaccination is contraindicated for persons with a history of hypersensitivity",
        "Mutations in the S gene of HBV can lead to conformational changes",
    ),
    "mmwr/mmwr_volumes_71_wr_mm715152a2.htm": (
        "Evidence suggests that 1 dose of JYNNEOS vaccine offers some protection",
        "In this analysis of 276 mpox cases in persons who received 1 dose",
        "until optimal immune protection from the second dose is achieved",
    ),
    "mmwr/mmwr_volumes_71_wr_mm7153a1.htm": (
        "Bivalent mRNA COVID-19 booster doses containing an Omicron BA.4/BA.5",
        "Analysis of data from the multistate VISION Network found",
        "with last dose ≥11 months earlier (Table 2)",
    ),
    "mmwr/mmwr_volumes_72_ss_ss7208a1.htm": (
        "Oil and gas extraction (OGE) work environments and corresponding safety",
        "The findings in this report are subject to at least three limitations.",
        "Maintaining an industry-specific worker fatality surveillance system is labor intensive",
    ),
    "pcd/pcd_issues_2011_10_0103.htm": (
        "The death rate from colorectal cancer is high and affects poor and medically",
        "The partnership chose employees from EAEC and MCAEOC to serve as lay health advisors",
        "only a few studies have developed a colorectal cancer prevention intervention",
    ),
    "pcd/pcd_issues_2014_14_0289.htm": (
        "Nutrition counseling is important for veterans undergoing gastric bypass surgery",
        "Characteristics of patients are shown in the Box",
        "the association between BMI change and the number of nutrition visits",
    ),
    "pcd/pcd_issues_2021_20_0596.htm": (
        "Effective communication approaches are necessary to reach food-security program",
        "We computed 3 multinomial logistic regression models",
        "continuous monitoring for research and evaluation",
    ),
    "pcd/pcd_issues_2021_20_0601.htm": (
        "Clustering of fast-food restaurants around schools facilitates fast-food consumption",
        "We found 425 Western fast-food chain restaurants in Hong Kong",
        "on school children are warranted",
    ),
    "pcd/pcd_issues_2021_20_0615.htm": (
        "Chinese immigrants are the third-largest non-US–born population in the US",
        "3 contiguous neighborhoods in Center City had the highest concentration",
        "Our maps have 2 primary implications for preventing chronic disease",
    ),
}
NAVIGATION = (
    "Skip directly to", "Persons using assistive technology", "ABOUT MMWR", "MMWR SEARCH",
    "Return to top", "Back to top", "On This Page", "Metric Details", "View author affiliations",
    "Table of Contents", "Suggested citation for this article", "Use of trade names",
    "electronic conversions", "Date last reviewed", "Page updated", "Related Articles",
    "official government organization", "Altmetric", "Medscape, LLC", "function(", "Syndicate",
    "Navigate This Article", "Cite This Article", "Email page", "References to non-CDC sites",
    "\ufffd", "â€", "Â ", "â\x80",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(shared_data: Path) -> dict[str, Parsed]:
    return {p.file: p for p in read_folder(shared_data / "public_health" / "cdc")}


def body_of(parsed: Parsed) -> str:
    assert parsed.article is not None
    return "\n".join(f"{s.heading}\n{s.text}" for s in parsed.article.body)


def test_all_files_are_articles_but_the_list_of_downloads(pages: dict[str, Parsed]) -> None:
    assert len(pages) == 18
    assert {f for f, p in pages.items() if p.status != "article"} == {"download_manifest.json"}
    assert set(SENTENCES) == set(pages) - {"download_manifest.json"}


@pytest.mark.parametrize("file", SENTENCES)
def test_a_page_keeps_its_own_sentences_and_no_navigation(
    shared_data: Path, pages: dict[str, Parsed], file: str
) -> None:
    body = " ".join(body_of(pages[file]).split())
    assert [s for s in SENTENCES[file] if s not in body] == []
    assert [phrase for phrase in NAVIGATION if phrase in body] == []


@pytest.mark.parametrize("file", SENTENCES)
def test_a_page_is_dated_and_in_the_public_domain(pages: dict[str, Parsed], file: str) -> None:
    article = pages[file].article
    assert article is not None
    assert (article.source, article.licence, article.redistributable) == (
        "cdc", "public-domain", True,
    )  # fmt: skip
    if file != "pcd/pcd_issues_2011_10_0103.htm":  # states no date in a place meant for one
        assert re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", article.published)
    assert "\x80" not in article.title
    assert "â" not in article.title


def test_most_paragraphs_of_long_reports_are_kept(
    shared_data: Path, pages: dict[str, Parsed]
) -> None:
    """Against paragraphs found by a plain expression: what lacks is notices and lists of people."""
    for file in ("mmwr/mmwr_preview_mmwrhtml_rr5416a1.htm", "mmwr/mmwr_volumes_72_ss_ss7208a1.htm"):
        raw = (shared_data / "public_health" / "cdc" / file).read_text("utf-8")
        found = re.findall(r"<[pP](?:\s[^>]*)?>(.*?)</[pP]>", raw, re.DOTALL)
        texts = [html.unescape(re.sub(r"<[^>]+>", "", p)) for p in found]
        ascii_only = [" ".join(t.split()) for t in texts if t.isascii() and len(t) > 80]
        body = " ".join(body_of(pages[file]).split())
        missing = [t for t in ascii_only if t[:60] not in body]
        people = [t for t in missing if t.count(", MD") > 1 or re.search("Chair|Secretary|Corr", t)]
        assert len(ascii_only) > 25
        assert len(missing) - len(people) <= 7, missing


def test_old_and_twice_encoded_pages_are_decoded(pages: dict[str, Parsed]) -> None:
    old = body_of(pages["pcd/pcd_issues_2011_10_0103.htm"])  # windows-1252, fails as UTF-8
    assert "community’s" in old or "participants’" in old
    twice = pages["mmwr/mmwr_volumes_71_wr_mm715152a2.htm"].article
    assert twice is not None
    assert "Unvaccinated Persons — 29 U.S. Jurisdictions, May 22–September 3, 2022" in twice.title
    assert webpage.decode("Café – 5 µg".encode()) == "Café – 5 µg"
    assert webpage.decode("Café".encode()) == "Café"
    assert webpage.decode("Café – ok".encode().decode("latin-1").encode()) == "Café – ok"


def page(main: str) -> list[tuple[str, str]]:
    text = f"<html><body><nav><a href='/'>Home</a></nav><main>{main}</main></body></html>"
    from lxml.html import document_fromstring

    return [(s.heading, s.text) for s in main_text(text, document_fromstring(text), [])]


@pytest.mark.parametrize(
    ("main", "sections"),
    [
        ("<h1>T</h1><p>5 May 2020</p><h2>A</h2><p>One.</p><h3>B</h3><p>Two.</p>",
         [("A", "One."), ("B", "Two.")]),
        ("<h2>A</h2><p>One <a href='x'>two</a> three.</p><h2>Related pages</h2><ul><li>"
         "<a href='x'>more pages</a></li></ul>", [("A", "One two three.")]),
        ("<h2>A</h2><table><caption>Doses</caption><tr><th>Drug</th><th>mg</th></tr><tr><td>X</td>"
         "<td>5</td></tr></table>", [("A", "Doses\nDrug | mg\nX | 5")]),
        ("<table><tr><td><h2>A</h2><p>Laid out in a table.</p></td></tr></table>",
         [("A", "Laid out in a table.")]),
        ("<h2>A</h2><p>One.</p><h2>References</h2><p>Cited.</p>", [("A", "One.")]),
        ("<h2>A</h2><p>10<sup>9</sup>.</p><script>x</script><form>y</form>", [("A", "10⁹.")]),
    ],
)  # fmt: skip
def test_the_marked_main_part_is_cut_at_its_headings(
    main: str, sections: list[tuple[str, str]]
) -> None:
    assert page(main) == sections


def test_a_page_of_an_institute_of_the_nih() -> None:
    page = b"""<!doctype html><html lang="en"><head><title>Gout</title>
    <link rel="canonical" href="https://www.niams.nih.gov/health-topics/gout"></head><body>
    <nav>Home</nav><main><h1>Gout</h1><p>Gout is a kind of arthritis. Crystals of uric acid in a
    joint make it red, hot and painful.</p></main></body></html>"""
    (parsed,) = webpage.parse([page])
    assert parsed.article
    assert parsed.article.id == "nih:health-topics/gout"
    assert parsed.article.licence == "public-domain"
    assert "uric acid" in parsed.article.body[0].text


def test_medlineplus_in_english_and_spanish(shared_data: Path) -> None:
    folder = shared_data / "public_health" / "medlineplus"
    found = {p.native_id: p for p in read_folder(folder)}
    articles = [p.article for p in found.values() if p.article]
    assert {a.language for a in articles} == {"en", "es"}
    assert {(a.licence, a.redistributable) for a in articles} == {("public-domain", True)}
    raw = (folder / "medlineplus_topics_sample.xml").read_text("utf-8")
    for topic in re.findall(r"<health-topic .*?</health-topic>", raw, re.DOTALL):
        native = re.search(r' id="(\d+)"', topic)
        summary = re.search(r"<full-summary>(.*?)</full-summary>", topic, re.DOTALL)
        assert native is not None
        article = found[native[1]].article
        if summary is None or not summary[1].strip():
            assert article is None
            continue
        assert article is not None
        words = re.sub(r"<[^>]+>", " ", html.unescape(html.unescape(summary[1])))
        read = " ".join(s.text for s in article.body).replace("\n- ", " ")
        squeezed = "".join(words.split())
        credit = next((d.words for d in found[native[1]].dropped if d.reason == "credit"), "")
        read = "".join(read.split()).removeprefix("-")
        assert read + "".join(credit.split()) == squeezed
    assert list(medlineplus.parse([b"<health-topics/>"])) == []
