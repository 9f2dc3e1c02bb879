"""Formats are told by content, and a broken file gives up what was whole."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.collect import read_file
from elara.collect.parsed import Parsed
from elara.collect.payload import PayloadError, as_utf8, open_chunks
from elara.collect.recognise import recognise
from elara.collect.xmlrecords import read_record, root_name, split_records, text_of

RECORD = (
    "<PubmedArticle><MedlineCitation><PMID>{}</PMID><Article><ArticleTitle>{}</ArticleTitle>"
    "</Article></MedlineCitation></PubmedArticle>"
)


def pubmed(*titles: str) -> bytes:
    records = "".join(RECORD.format(100 + n, title) for n, title in enumerate(titles))
    return f'<?xml version="1.0"?>\n<PubmedArticleSet>{records}</PubmedArticleSet>\n'.encode()


def read(tmp_path: Path, content: bytes, name: str = "any.bin") -> list[Parsed]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_file(path, name, "2026-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("head", "parser"),
    [
        (b"<PubmedArticleSet>", "pubmed"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- <html> -->\n<PubmedArticleSet>', "pubmed"),
        (b"<RAW><PubmedArticle>", "pubmed"),
        (b"<!DOCTYPE a [<!ENTITY x '>'>]><article xmlns:xlink='x'>", "jats"),
        (b"<pmc-articleset>", "jats"),
        (b"<posts>", "posts"),
        (b'{\n "items": [', "api"),
        (b"<Document id='1'>", "medquad"),
        (b"<health-topics>", "medlineplus"),
        (b"\nPMID- 12230038\nOWN - NLM\n", "medline"),
        (b"  <!doctype HTML PUBLIC 'x'>", "webpage"),
        ("<posts>".encode("utf-16"), "posts"),
        (b'[{"a": 1}]', "json"),
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b"%PDF-1.7", "pdf"),
        (b"PAR1", "parquet"),
        (b"\xef\xbb\xbfTY  - JOUR\n", "ris"),
        (b"pmid;title;abstract\n1;a;b\n", "csv"),
    ],
)
def test_a_format_is_known_by_its_content(head: bytes, parser: str) -> None:
    assert recognise(head) == (parser, "")


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<eSearchResult>", "E-utilities esearch answer: ids, not records"),
        (b"% mine\n@article{key,\n title = {x}}", "BibTeX"),
        (b"id,title\n1,x", "not a format"),
        (b"<?xml version='1.0' encoding='x-none'?><posts>", "encoding"),
        (b"<unheard-of>", "<unheard-of>"),
    ],
)
def test_what_is_not_read_has_a_reason(head: bytes, word: str) -> None:
    parser, reason = recognise(head)
    assert parser == ""
    assert word in reason


def test_gzip_is_known_by_content_and_may_have_several_members(tmp_path: Path) -> None:
    whole = pubmed("One", "Two")
    packed = gzip.compress(whole[:90]) + gzip.compress(whole[90:]) + b"\0" * 9
    found = read(tmp_path, packed, "no_suffix")
    assert [p.article.title for p in found if p.article] == ["One", "Two"]


def test_a_truncated_gzip_keeps_what_was_readable_and_names_the_rest(tmp_path: Path) -> None:
    rng = random.Random(0)
    titles = ["".join(rng.choices("abcdefgh ", k=400)).strip() for _ in range(200)]
    packed = gzip.compress(pubmed(*titles))
    found = read(tmp_path, packed[: len(packed) // 2], "cut.xml.gz")
    articles = [p for p in found if p.article]
    assert 50 < len(articles) < 150
    assert articles[-1].article is not None
    assert articles[-1].article.title == " ".join(titles[len(articles) - 1].split())
    error = found[-1]
    assert (error.status, error.record, error.file) == ("error", len(articles), "cut.xml.gz")
    assert "cut off" in error.reason
    assert "fetch the file again" in error.reason


def test_a_damaged_gzip_is_a_named_error(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(pubmed("One")))
    packed[20] ^= 0xFF
    found = read(tmp_path, bytes(packed))
    assert found[-1].status == "error"
    assert "damaged" in found[-1].reason or "cut off" in found[-1].reason


def test_truncated_plain_xml_is_a_named_error(tmp_path: Path) -> None:
    whole = pubmed("One", "Two", "Three")
    found = read(tmp_path, whole[: whole.index(b"Three")])
    assert [p.status for p in found] == ["article", "article", "error"]
    assert "breaks off" in found[-1].reason
    between = read(tmp_path, whole[: whole.index(b"</PubmedArticleSet>")])
    assert [p.status for p in between] == ["article", "article", "article", "error"]


@pytest.mark.parametrize("bad", ["a < b", "x &nonsense; y", "<i>open", "bad \x01 sign"])
def test_one_bad_record_does_not_lose_its_neighbours(tmp_path: Path, bad: str) -> None:
    found = read(tmp_path, pubmed("One", bad, "Three"))
    assert [p.status for p in found] == ["article", "error", "article"]
    assert found[1].record == 1
    assert "malformed" in found[1].reason


def test_a_record_without_end_tag_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    whole = pubmed("One", "Two", "Three")
    at = whole.index(b"</PubmedArticle>", whole.index(b"Two"))
    found = read(tmp_path, whole[:at] + whole[at + len(b"</PubmedArticle>") :])
    assert [p.status for p in found] == ["article", "error", "article"]


def test_bytes_that_are_not_utf8_lose_one_record(tmp_path: Path) -> None:
    whole = pubmed("One", "TWO", "Three").replace(b"TWO", b"caf\xe9")
    assert [p.status for p in read(tmp_path, whole)] == ["article", "error", "article"]
    declared = whole.replace(b'"1.0"', b'"1.0" encoding="ISO-8859-1"')
    titles = [p.article.title for p in read(tmp_path, declared) if p.article]
    assert titles == ["One", "café", "Three"]


def test_an_entity_bomb_and_a_file_entity_stay_inert(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("TOP SECRET")
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    prolog = (
        f'<!DOCTYPE PubmedArticleSet SYSTEM "http://192.0.2.1/x.dtd" [<!ENTITY l0 "ha">{bomb}'
        f'<!ENTITY f SYSTEM "{secret.as_uri()}">]>'
    )
    found = read(tmp_path, prolog.encode() + pubmed("&l11;", "&f;", "Fine").split(b"\n", 1)[1])
    assert [p.status for p in found] == ["error", "error", "article"]
    assert "SECRET" not in str(found)


def test_a_recognised_file_without_records_is_a_named_skip(tmp_path: Path) -> None:
    found = read(tmp_path, b"<PubmedArticleSet></PubmedArticleSet>")
    assert [(p.record, p.status, p.reason) for p in found] == [
        (-1, "skipped", "pubmed file without records")
    ]
    found = read(tmp_path, b'<?xml version="1.0"?><PubmedArticleSet/>')
    assert [p.status for p in found] == ["skipped"]


def test_html_names_of_characters_are_read_in_xml() -> None:
    record = read_record(b"<article><p>a&ensp;&minus;5 &lt; &alpha;</p></article>")
    assert text_of(record) == "a −5 < α"


def test_a_wrapper_may_declare_the_prefixes() -> None:
    assert read_record(b'<article><x xlink:href="u"/><mml:math/></article>').tag == "article"


def test_rows_end_before_the_next_tag() -> None:
    chunks = [b'<posts>\n  <row Id="1" Body="a > b"/>\n  <row I', b'd="2" />\n</posts>\n']
    assert list(split_records(chunks, ("row",))) == [
        b'<row Id="1" Body="a > b"/>',
        b'<row Id="2" />',
    ]
    with pytest.raises(PayloadError, match="breaks off"):
        list(split_records([b'<posts><row Id="1"/><row Id="2"'], ("row",)))


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(words, min_size=1, max_size=6), size=st.integers(1, 40))
def test_how_a_stream_is_cut_into_pieces_makes_no_difference(texts: list[str], size: int) -> None:
    escaped = [t.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for t in texts]
    whole = "<set>" + "\n".join(f"<rec>{t}</rec>" for t in escaped) + "</set>"
    data = whole.encode()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    found = [text_of(read_record(r)) for r in split_records(pieces, ("rec",))]
    assert found == [" ".join(t.split()) for t in texts]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_no_bytes_crash_a_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for prefix in (b"", b"<PubmedArticleSet>", b'{"items": [', b"<posts>", b"<html>", b"\x1f\x8b"):
        found = read(folder, prefix + data)
        assert found
        assert all(p.reason for p in found if p.status in ("skipped", "error"))


def test_pieces_of_any_encoding_come_out_as_utf8(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><set>é</set>'
    assert "é".encode() in b"".join(as_utf8([text.encode("utf-16")]))
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1_000_000)
    assert sum(map(len, open_chunks(path))) == 3_000_000


def test_the_root_is_found_behind_any_prolog() -> None:
    head = b"<?xml version='1.0'?><!-- <a> --><!DOCTYPE x SYSTEM 'y' [<!ELEMENT b (c)>]>"
    head += b"<x:root a='1'>"
    assert root_name(head) == "x:root"
    assert root_name(b"no xml") == ""
    odd = b"""<!DOCTYPE x PUBLIC "a>b" 'c' [<!-- it's ]> --><!ENTITY e "]><y>">]><x>"""
    assert root_name(odd) == "x"
    assert root_name(b"<cut") == ""


HIDDEN = b"""<?xml version="1.0"?>
<!DOCTYPE set [<!ENTITY x "<rec>0</rec>]>"> <!-- it's ]> <rec>0</rec> -->]>
<!-- <set> --><set><!-- <rec>0</rec> --><record>0</record><rec a="x>y" b='</r'>1</rec>
<?x <rec>0</rec> ?><rec>2<![CDATA[</rec><rec>]]></rec ><![CDATA[<rec>0</rec>]]>
<rec>3<!-- </rec> --><?x </rec>?></rec
><rec/><rec>5<rec>6</rec><rec>7</set><!-- </set> and much more: %b -->""" % (b"." * 5000)
SHOWN = [
    b"""<rec a="x>y" b='</r'>1</rec>""",
    b"<rec>2<![CDATA[</rec><rec>]]></rec >",
    b"<rec>3<!-- </rec> --><?x </rec>?></rec\n>",
    b"<rec/>",
    b"<rec>5",
    b"<rec>6</rec>",
    b"<rec>7",
]
ROWS = (
    b'<!-- <row Id="0"/> --><set><row Id="1" B="a > b --> ?&lt;!--"/><!--<row Id="0"/>-->'
    b'<row Id="2"/><![CDATA[<row Id="0"/>]]><?x <row Id="0"/>?></set>'
)


@pytest.mark.parametrize("size", [*range(1, 40), 100, 1000, 10_000])
def test_tags_in_comments_and_the_like_cut_nothing(size: int) -> None:
    pieces = [HIDDEN[i : i + size] for i in range(0, len(HIDDEN), size)]
    assert list(split_records(pieces, ("rec", "other"))) == SHOWN
    pieces = [ROWS[i : i + size] for i in range(0, len(ROWS), size)]
    assert [row[9:10] for row in split_records(pieces, ("row",))] == [b"1", b"2"]


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize(
    ("damaged", "whole", "reason"),
    [
        (b"<set><rec>1</rec><!-- <rec>0</rec></set>", [b"<rec>1</rec>"], "inside a comment"),
        (b"<set><rec>1</rec><rec>2<!-- </rec>", [b"<rec>1</rec>"], "before </set>"),
        (b"<set><rec>1</rec><!-- </set> -->", [b"<rec>1</rec>"], "before </set>"),
        (b"<set><rec>1<!-- </rec><rec>2</rec></set>", [b"<rec>1<!-- </rec>", b"<rec>2</rec>"], ""),
    ],
)
def test_a_comment_without_end_is_an_error(
    damaged: bytes, whole: list[bytes], reason: str, size: int
) -> None:
    found = []
    told = ""
    try:
        pieces = [damaged[i : i + size] for i in range(0, len(damaged), size)]
        for record in split_records(pieces, ("rec",)):
            found.append(record)
    except PayloadError as error:
        told = str(error)
    assert found[: len(whole)] == whole
    assert reason in told
    assert bool(reason) == bool(told)
