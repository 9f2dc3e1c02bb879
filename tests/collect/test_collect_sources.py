"""JATS, Stack Exchange, MedQuAD, MedlinePlus and web pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import read_folder

from elara.collect import (
    jats,
    licence_of,
    medlineplus,
    medquad,
    read_file,
    redistributable,
    stackexchange,
    webpage,
)
from elara.collect.htmltext import html_text
from elara.collect.licences import strictest
from elara.records import Article

XLINK = (
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"'
)
JATS = """<article {ns} article-type="{kind}" xml:lang="en">
<front><journal-meta><journal-title-group>
<journal-title>J</journal-title></journal-title-group></journal-meta><article-meta>
<article-id pub-id-type="pmcid">PMC5</article-id><article-id pub-id-type="doi">10.1/X</article-id>
<title-group><article-title>A <italic>title</italic><xref>*</xref></article-title></title-group>
<contrib-group><contrib contrib-type="author"><name><surname>B</surname><given-names>A</given-names>
</name></contrib><contrib contrib-type="editor"><name><surname>Ed</surname></name></contrib>
</contrib-group><pub-date><year>2020</year></pub-date>
<pub-date><day>4</day><month>1</month><year>2020</year></pub-date>
<permissions>{licence}</permissions>{related}
<abstract abstract-type="toc"><p>teaser</p></abstract>
<abstract><sec><title>Aim:</title><p>To see.</p></sec></abstract></article-meta></front>
<body><p>First 10<sup>9</sup>/L.</p><sec><title>Methods</title>
<p>M<table-wrap><table><tr><td>cell</td></tr></table></table-wrap>.</p>
<sec><title>Deep</title><list><list-item><p>one</p></list-item></list></sec>
<fig><permissions><license xlink:href="http://creativecommons.org/licenses/by-nc/4.0/"/></permissions>
<caption><p>caption</p></caption></fig></sec></body>
<sub-article><body><p>REVIEW</p></body></sub-article></article>"""
BY = (
    '<license xlink:href="http://creativecommons.org/licenses/by/4.0/">'
    "<license-p>Open access</license-p></license>"
)


def jats_article(licence: str = BY, kind: str = "research-article", related: str = "") -> Article:
    text = JATS.format(ns=XLINK, kind=kind, licence=licence, related=related)
    (found,) = jats.parse([text.encode()])
    assert found.article is not None
    return found.article


def test_jats_fields_and_sections() -> None:
    article = jats_article()
    assert (article.id, article.doi, article.title) == ("pmc:PMC5", "10.1/x", "A title")
    assert article.abstract == "AIM: To see."
    assert [(s.heading, s.text) for s in article.body] == [
        ("", "First 10⁹/L."),
        ("Methods", "M\n\ncell\n\n.\n\ncaption."),
        ("Methods: Deep", "- one"),
    ]
    assert article.authors == ["A B"]
    assert article.published == "2020-01-04"
    assert (article.licence, article.redistributable) == ("CC-BY-4.0", True)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (BY, "CC-BY-4.0"),
        ("<license><ali:license_ref>https://creativecommons.org/licenses/by-nc-nd/4.0/"
         "</ali:license_ref></license>", "CC-BY-NC-ND-4.0"),
        ("<ali:license_ref>http://creativecommons.org/publicdomain/zero/1.0/</ali:license_ref>",
         "CC0-1.0"),
        ("<license><license-p>under the Creative Commons Attribution License, which</license-p>"
         "</license>", "CC-BY"),
        ("<copyright-statement>Creative Commons Attribution-NonCommercial 3.0"
         "</copyright-statement>",
         "CC-BY-NC-3.0"),
        ("<license><license-p>All rights reserved</license-p></license>", "unknown"),
        ("", "unknown"),
    ],
)  # fmt: skip
def test_a_licence_is_found_in_any_place_but_a_figure(licence: str, expected: str) -> None:
    assert jats_article(licence).licence == expected


def test_jats_retractions() -> None:
    related = '<related-article related-article-type="{}"/>'
    assert jats_article(kind="retracted-article").retracted
    assert jats_article(related=related.format("retraction-forward")).retracted
    assert not jats_article(
        kind="retraction", related=related.format("retracted-article")
    ).retracted


def test_real_jats_files_all_parse(shared_data: Path) -> None:
    found = list(read_folder(shared_data / "jats"))
    by_file = {(p.file, p.record): p for p in found}
    assert not [p for p in found if p.status == "error"]
    plos = [p for p in found if p.file.startswith(("plos/", "plos_edge/"))]
    assert sum(p.article is not None for p in plos) == 85
    assert sum(p.file.startswith("elife/") for p in found) == 18
    refused = by_file["pubchunks/pubmed_full_2.xml", 0].article
    assert refused is not None
    assert (refused.licence, refused.redistributable) == ("CC-BY-NC-3.0", False)
    figure = by_file["elife/elife-kitchen-sink.xml", 0].article
    assert figure is not None
    assert figure.licence == "CC-BY-4.0"
    assert "Decision letter" not in str(figure.body)
    who = by_file["plos/journal.pmed.1001080.xml", 0].article
    assert who is not None
    assert who.licence == "unknown"


@pytest.mark.parametrize(
    ("text", "expected", "free"),
    [
        ("http://creativecommons.org/licenses/by/2.0", "CC-BY-2.0", True),
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/igo/", "CC-BY-NC-SA-3.0-IGO", False),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public-domain", True),
        ("© Commonwealth CC BY-NC-ND.", "CC-BY-NC-ND", False),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0", True),
        ("CC0", "CC0-1.0", True),
        ("Creative Commons Attribution Non-Commercial License", "CC-BY-NC", False),
        ("a Creative Commons License (Attribution 4.0 International)", "CC-BY-4.0", True),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives License", "CC-BY-NC-ND", False),
        ("This work is in the public domain", "public-domain", True),
        ("Copyright 2020 Elsevier", "unknown", False),
        ("accredited by CCBB", "unknown", False),
    ],
)
def test_licence_statements(text: str, expected: str, free: bool) -> None:
    assert licence_of(text) == expected
    assert redistributable(expected) is free


def test_the_strictest_statement_counts() -> None:
    assert strictest(["terms", "CC BY 4.0", "CC BY-NC 4.0"]) == "CC-BY-NC-4.0"
    assert strictest(["CC BY", "CC BY 4.0"]) == "CC-BY-4.0"
    assert strictest([]) == "unknown"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One <b>two</b></p>\n<p>three</p>", "One two\n\nthree"),
        ("<p>A:</p><ul><li>x</li><li><p>y</p></li></ul><p>z</p>", "A:\n\n- x\n- y\n\nz"),
        ("<pre><code>a = 1\n\n  b\n</code></pre>", "a = 1\n \n  b"),
        ("a<br>b &lt;5 x 10<sup>9</sup>", "a\nb <5 x 10⁹"),
        ("<ol><li>x<ul><li>y</li></ul></li></ol>", "1. x\n   - y"),
        ("", ""),
        ("<!-- no -->", ""),
    ],
)
def test_html_keeps_paragraphs_lists_and_code(html: str, text: str) -> None:
    assert html_text(html) == text


POSTS = b"""\xef\xbb\xbf<?xml version="1.0"?>\n<!DOCTYPE posts SYSTEM 'posts.dtd'>\n<posts>
<row Id="1" PostTypeId="1" AcceptedAnswerId="4" CreationDate="2012-01-01T00:00:00" Score="3"
 Body="&lt;p&gt;Why?&lt;/p&gt;&#xA;" OwnerUserId="8" Title="T &lt; 5" Tags="&lt;a&gt;&lt;b-c&gt;" />
<row Id="2" PostTypeId="2" ParentId="1" CreationDate="2019-01-01" Score="9" Body="high"
 OwnerUserId="9" />
<row Id="3" PostTypeId="5" Body="wiki" />
<row Id="4" PostTypeId="2" ParentId="1" CreationDate="2012-01-02" Score="-1" Body="accepted" />
<row Id="5" PostTypeId="2" ParentId="99" Body="orphan" />
<row Id="6" PostTypeId="1" Title="U" Body="b" Tags="|x|y|" ContentLicense="CC BY-SA 3.0" />
</posts>"""


def test_posts_join_answers_and_name_the_rest() -> None:
    found = {p.record: p for p in stackexchange.parse_posts([POSTS], "s.example.com")}
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    article = found[0].article
    assert article is not None
    assert article.id == "stackexchange:s.example.com/1"
    # An answer that readers rejected is out, although the asker accepted it.
    assert [(s.kind, s.text) for s in article.body] == [("question", "Why?"), ("answer", "high")]
    assert article.body[1].heading == "user 9 (https://s.example.com/users/9), CC-BY-SA-4.0"
    assert found[0].dropped == [("answer", "accepted", "answer with score -1")]
    assert (found[3].status, found[3].reason) == ("skipped", "answer with score -1")
    assert (article.title, article.keywords) == ("T < 5", ["a", "b-c"])
    assert article.licence == "CC-BY-SA-4.0"
    assert (found[1].article_id, found[1].native_id) == (article.id, "2")
    assert "post type 5" in found[2].reason
    assert "not in this file" in found[4].reason
    other = found[5].article
    assert other is not None
    assert (other.keywords, other.licence) == (["x", "y"], "CC-BY-SA-3.0")


@pytest.mark.parametrize(
    ("question", "answers", "kept", "reason"),
    [
        ({"score": 1}, [{"score": -9}], [], ""),
        (
            {"score": 1},
            [{"score": 3}, {"score": -1, "is_accepted": True}, {"score": 0}],
            [3, 0],
            "",
        ),
        ({"score": -2}, [{"score": 4}], [4], ""),
        ({"score": -2}, [{"score": -1}], None, "question with score -2, which has no answer"),
        ({"score": -2}, [], None, "question with score -2, which has no answer"),
        ({"score": -2, "closed_date": 1}, [{"score": 4}], None, "is closed or locked"),
        ({"score": 2, "closed_date": 1}, [{"score": 4}], [4], ""),
        ({"score": 2, "deleted_date": 1}, [{"score": 4}], None, "question that was deleted"),
        ({"score": 2}, [{"score": 5, "deleted_date": 1}, {"score": None}], [0], ""),
    ],
)
def test_what_a_community_rejects_is_left_out_and_named(
    question: dict, answers: list[dict], kept: list[int] | None, reason: str
) -> None:
    given = [
        {"answer_id": n, "question_id": 1, "body": f"{a['score'] or 0}", **a}
        for n, a in enumerate(answers, start=2)
    ]
    asked = {"question_id": 1, "title": "T", "body": "Why?", "answers": given, **question}
    dump = "".join(
        f'<row Id="{p.get("answer_id", 1)}" PostTypeId="{2 if "answer_id" in p else 1}" '
        f'ParentId="{1 if "answer_id" in p else ""}" Score="{p["score"] or 0}" Body="{p["body"]}" '
        + 'DeletionDate="2020-01-01" ' * ("deleted_date" in p)
        + 'ClosedDate="2020-01-01" ' * ("closed_date" in p)
        + "/>"
        for p in [asked, *given]
    )
    api = json.dumps({"items": [asked], "has_more": False}).encode()
    for found in (
        list(stackexchange.parse_api([api])),
        list(stackexchange.parse_posts([f"<posts>{dump}</posts>".encode()], "s.example.com")),
    ):
        first = found[0]
        assert len(found) in (1, 1 + len(given))
        if kept is None:
            assert {(p.status, reason in p.reason) for p in found} == {("skipped", True)}
            continue
        assert first.article is not None
        assert [int(s.text) for s in first.article.body[1:]] == kept
        assert len(first.dropped) == len(given) - len(kept)
        assert sum(p.status == "skipped" for p in found[1:]) in (0, len(first.dropped))


def test_cut_off_posts_keep_what_was_whole(tmp_path: Path) -> None:
    path = tmp_path / "Posts.xml"
    path.write_bytes(POSTS[: POSTS.index(b'<row Id="5"')])
    found = list(read_file(path, "Posts.xml", ""))
    assert [p.status for p in found].count("article") == 2
    assert [p.reason for p in found if "score" in p.reason] == ["answer with score -1"]
    assert found[-1].status == "error"
    assert "after 4 whole records" in found[-1].reason


def test_every_row_of_a_dump_is_accounted_for(
    source_files: Path, least: Callable[[int], int]
) -> None:
    found = list(read_folder(source_files / "stackexchange" / "dump"))
    assert len({(p.file, p.record) for p in found}) == len(found) >= least(4152)
    articles = [p.article for p in found if p.article]
    assert all(a.journal.endswith(".com") for a in articles)
    assert len({a.id for a in articles}) == len(articles)


def test_api_answers() -> None:
    question = {
        "question_id": 1, "title": "It&#39;s", "body": "<p>q</p>", "tags": ["t"],
        "link": "https://x.com/q/1", "creation_date": 1700000000, "content_license": "CC BY-SA 4.0",
        "answers": [{"answer_id": 2, "question_id": 1, "body": "a", "score": 1,
                     "owner": {"display_name": "D&#246;", "link": "https://x.com/u/3"}}],
    }  # fmt: skip
    items = [question, {"question_id": 5, "title": "no body"}, {"site_url": "s"}]
    text = json.dumps({"items": items}).encode()
    found = list(stackexchange.parse_api([text[:40], text[40:]]))
    article = next(p.article for p in found if p.article)
    assert (article.title, article.published) == ("It's", "2023-11-14")
    assert article.body[1].heading == "Dö (https://x.com/u/3), CC-BY-SA-2.5"
    assert sorted(p.record for p in found) == [0, 1, 2]
    assert [p.status for p in stackexchange.parse_api([text[:-5]])] == ["error"]
    assert [p.status for p in stackexchange.parse_api([b'{"items": 3}'])] == ["error"]
    odd = [
        question,
        question | {"question_id": 3, "owner": ["x"]},
        question | {"question_id": 4},
        7,
    ]
    found = list(stackexchange.parse_api([json.dumps({"items": odd}).encode()]))
    assert {p.record: p.status for p in found} == {
        0: "article", 1: "error", 2: "article", 3: "error",
    }  # fmt: skip


def test_a_jats_article_nested_too_deeply_is_a_named_error() -> None:
    text = f"<article><body>{'<sec><p>x</p>' * 1500}{'</sec>' * 1500}</body></article>"
    (found,) = jats.parse([text.encode()])
    assert found.status == "error"
    assert "nested" in found.reason


MEDQUAD = {
    "Document": '<Document id="1" source="S" url="u"><Focus>F</Focus><QAPairs><QAPair><Question>Q'
    "  ?</Question><Answer>A\n  b</Answer></QAPair><QAPair><Question>E</Question><Answer/></QAPair>"
    "</QAPairs></Document>",
    "doc": '<doc docid="1" corpus="S" url="u"><doctitle-focus>F</doctitle-focus><qaPairs><pair>'
    "<question>Q ?</question><answer>A b</answer></pair><pair><question>E</question><answer>  "
    "</answer></pair></qaPairs></doc>",
    "DiseaseFile": '<DiseaseFile fid="1" source="S" url="u"><Focus>F</Focus><QAPairs><QAPair>'
    "<Question>Q ?</Question><Answer>A b</Answer></QAPair><QAPair><Question>E</Question></QAPair>"
    "</QAPairs></DiseaseFile>",
}


@pytest.mark.parametrize("layout", MEDQUAD)
def test_medquad_layouts_read_the_same(layout: str) -> None:
    (found,) = medquad.parse([MEDQUAD[layout].encode()])
    assert found.article is not None
    assert (found.article.id, found.article.title) == ("medquad:S-1", "F")
    assert [(s.kind, s.text) for s in found.article.body] == [
        ("question", "Q ?"),
        ("answer", "A b"),
    ]
    assert found.reason == "1 pairs without an answer left out"
    assert found.article.licence == "CC-BY-4.0"


def test_medquad_without_pairs_is_a_named_skip(
    source_files: Path, least: Callable[[int], int]
) -> None:
    (found,) = medquad.parse([b'<Document id="2"><QAPairs/></Document>'])
    assert (found.status, found.reason) == ("skipped", "no question and answer pairs")
    real = list(read_folder(source_files / "qa" / "medquad" / "xml"))
    assert len(real) >= least(243)
    assert {p.status for p in real} == {"article", "skipped"}


def test_medlineplus_topics(shared_data: Path) -> None:
    found = list(read_folder(shared_data / "public_health" / "medlineplus"))
    assert [p.status for p in found].count("article") == 4
    assert [p.reason for p in found if p.status == "skipped"] == ["topic without a summary"]
    spanish = next(p.article for p in found if p.native_id == "2238")
    assert spanish is not None
    assert (spanish.language, spanish.licence, spanish.published) == (
        "es", "public-domain", "2006-10-31",
    )  # fmt: skip
    assert "\n- Aborto quirúrgico\n" in spanish.body[0].text
    assert "<" not in spanish.body[0].text
    assert list(medlineplus.parse([b"<health-topics></health-topics>"])) == []


PAGE = """<html lang="en"><head><meta charset="{charset}"><title>Bar</title>{head}
<link rel="canonical" href="https://{host}/a/b.html"></head><body><nav>{nav}</nav><main><h1>Real
title</h1><h2>Part</h2>
<p>Caf\u00e9 patients \u2013 with a count of 5 \u00d7 10<sup>9</sup>/L \u2013 need more
fluid than the others, which is said at length here so that it counts as text.</p>
<ul><li>first item of the list</li></ul></main></body></html>"""


def page(
    host: str = "www.cdc.gov", encoding: str = "utf-8", head: str = ""
) -> list[webpage.Parsed]:
    text = PAGE.format(charset="windows-1252", host=host, head=head, nav="<a>Menu</a> " * 30)
    return list(webpage.parse([text.encode(encoding)]))


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252"])
def test_a_page_is_decoded_by_what_it_is(encoding: str) -> None:
    (found,) = page(encoding=encoding)
    assert found.article is not None
    assert "Café patients – with a count of 5 × 10⁹/L – need" in str(found.article.body)
    assert "Menu" not in str(found.article.body)
    assert (found.article.id, found.article.language) == ("cdc:a/b.html", "en")


def test_who_says_what_licence_a_page_has() -> None:
    rights = '<meta name="dcterms.rights" content="https://creativecommons.org/licenses/by/4.0/">'
    licences = {
        (host, bool(head)): page(host, head=head)[0].article
        for host in ("www.cdc.gov", "www.who.int")
        for head in ("", rights)
    }
    found = {k: (a.source, a.licence, a.redistributable) for k, a in licences.items() if a}
    assert found == {
        ("www.cdc.gov", False): ("cdc", "public-domain", True),
        ("www.who.int", False): ("who", "CC-BY-NC-SA-3.0-IGO", False),
        ("www.cdc.gov", True): ("cdc", "CC-BY-4.0", True),
        ("www.who.int", True): ("who", "CC-BY-4.0", True),
    }


def test_an_address_that_is_none_does_not_stop_a_page() -> None:
    (found,) = page("[www.cdc.gov")
    assert (found.status, found.record) == ("skipped", 0)
    broken = '<a href="http://[x">a</a>' + '<a href="https://www.cdc.gov/b">b</a>'
    text = PAGE.format(charset="utf-8", host="", head="", nav=broken).replace("https:///", "")
    (found,) = webpage.parse([text.encode()])
    assert found.article is not None
    assert found.article.source == "cdc"


def test_pages_of_others_and_empty_pages_are_named_skips() -> None:
    assert "not from the CDC" in page("notcdc.gov")[0].reason
    (found,) = webpage.parse([b"<html></html>"])
    assert (found.status, bool(found.reason)) == ("skipped", True)


def test_real_cdc_pages(shared_data: Path) -> None:
    folder = shared_data / "public_health" / "cdc"
    found = {p.file: p.article for p in read_folder(folder) if p.article}
    assert len(found) == 17
    assert all(a.source == "cdc" and a.title and a.body for a in found.values())
    old = found["pcd/pcd_issues_2011_10_0103.htm"]
    assert "\ufffd" not in str(old.body)
