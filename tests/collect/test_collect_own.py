"""A user's own files: every format is read whole, every file has an outcome, licences hold."""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elara.collect import collect_folder, left_out, raw_record, read_file
from elara.collect.own import FIELDS, check_columns, columns_of
from elara.collect.parsed import Parsed
from elara.records import Article, frame

NOTE = "Amoxicillin 500 mg\nevery 8 hours.\n\nGentamicin 5-10 mg/kg, not 510."
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
M = "http://schemas.openxmlformats.org/officeDocument/2006/math"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def read(folder: Path, name: str, content: str | bytes, **columns: str) -> list[Parsed]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_file(path, name, "2026-01-01T00:00:00Z", columns))


def one(found: list[Parsed]) -> Article:
    (parsed,) = found
    assert parsed.article is not None, parsed.reason
    return parsed.article


def reasons(folder: Path) -> dict[str, tuple[str, str]]:
    rows = collect_folder(folder).outcomes.collect().rows(named=True)
    return {row["file"]: (row["status"], row["reason"]) for row in rows}


def docx(*paragraphs: str) -> bytes:
    """A Word file; `# x` is a heading, and what begins with `<` is taken as it is."""
    body = ""
    for text in paragraphs:
        style = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>' if text.startswith("# ") else ""
        plain = f"<w:p>{style}<w:r><w:t>{text.removeprefix('# ')}</w:t></w:r></w:p>"
        body += text if text.startswith("<") else plain
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r" Type="{RELATION}" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{W}" xmlns:m="{M}"><w:body>{body}</w:body></w:document>',
        )
    return packed.getvalue()


def pdf(*pages: list[str], title: str = "", password: str = "") -> bytes:
    """A PDF file with a text layer, one list of lines for each page."""
    pypdf = pytest.importorskip("pypdf")
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    logging.getLogger("fontTools").setLevel(logging.ERROR)
    drawn = io.BytesIO()
    with PdfPages(drawn, metadata={"Title": title} if title else {}) as book:
        for lines in pages:
            figure = Figure()
            for place, line in enumerate(lines):
                figure.text(0.1, 0.9 - 0.05 * place, line)
            book.savefig(figure)
    if not password:
        return drawn.getvalue()
    writer = pypdf.PdfWriter(clone_from=drawn)
    writer.encrypt(password, algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    return locked.getvalue()


def test_a_text_keeps_its_lines_and_takes_a_first_line_for_its_title(tmp_path: Path) -> None:
    found = one(read(tmp_path, "a.txt", f"Antibiotics\n\n{NOTE}\n"))
    assert (found.title, found.body[0].text, found.licence) == ("Antibiotics", NOTE, "unknown")
    again = one(read(tmp_path, "renamed.text", f"Antibiotics\n\n{NOTE}\n"))
    assert again.id == found.id == f"own:{found.id[4:]}"
    alone = one(read(tmp_path, "dose.txt", "One line of text."))
    assert (alone.title, alone.body[0].text) == ("dose", "One line of text.")
    lines = one(read(tmp_path, "b.txt", NOTE))
    assert (lines.title, lines.body[0].text) == ("Amoxicillin 500 mg", NOTE)
    assert one(read(tmp_path, "c.txt", f"-----\n{NOTE}")).title == "c"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_a_text_may_be_in_any_usual_encoding(tmp_path: Path, encoding: str) -> None:
    content = "Fièvre\r\n\r\n½ comprimé – 5 µg".encode(encoding)
    found = one(read(tmp_path, "a.txt", content))
    assert (found.title, found.body[0].text) == ("Fièvre", "½ comprimé – 5 µg")


@pytest.mark.parametrize(
    "text",
    [
        "Title, text, and abstract\nThen, text, more",
        "[1] First reference\nmore",
        "{braces} first\nmore",
        "<5 mg is low.\nmore",
        'He said: "5 mg, or 10".\nThen, text, more.',
    ],
)
def test_prose_is_not_taken_for_another_format(tmp_path: Path, text: str) -> None:
    for name in ("a.txt", "a.md"):
        found = one(read(tmp_path, name, text))
        assert found.body[0].text == text


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=300) | st.text('{}[]",\n@#-| ab=5\r', max_size=80).map(str.encode))
def test_no_bytes_crash_a_reader_of_own_files(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    starts = {
        "a.pdf": b"%PDF-1.7\n", "b.parquet": b"PAR1", "c.ris": b"TY  - JOUR\n", "d.json": b"[{",
        "f.jsonl": b'{"text": "x"}\n', "g.csv": b"text,title\n",
        "h.md": b"---\n", "i.txt": b"", "j.html": b"<html><body><p>x",
    }  # fmt: skip
    for name, start in starts.items():
        found = read(folder, name, start + data)
        assert found
        assert all(p.reason for p in found if p.status != "article"), name


def test_what_is_no_text_is_refused_with_a_reason(tmp_path: Path) -> None:
    for name, content, word in (
        ("zero.txt", b"abc\0def", "zero bytes"),
        ("late.txt", b"abc\n" * 20_000 + b"\0", "zero bytes"),
        ("random.txt", bytes(range(1, 256)) * 4, "bytes are none"),
        ("blank.txt", b"\n \n", "empty file"),
        ("image.txt", b"\xff\xd8\xff\xe0JFIF", "JPEG"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as .docx"),
        ("a.rtf", b"{\\rtf1 text}", "RTF"),
        ("README.md", b"# About this data\n", "README"),
        ("no-suffix", b"Some words.", "not a format"),
        ("numbers.json", b"[1, 2]", "no list of records"),
    ):
        (found,) = read(tmp_path, name, content)
        assert found.article is None
        assert found.status == ("error" if name == "late.txt" else "skipped"), name
        assert word in found.reason, (name, found.reason)


def test_markdown_is_cut_at_its_headings_and_nothing_else_changes(tmp_path: Path) -> None:
    table = "| Drug | Dose |\n|---|---|\n| A | 2*3*4 mg |"
    page = (
        "---\ntitle: Sepsis\nlicense: CC BY 4.0\ndate: 2024-05-06\ndoi: 10.1/ABC\n"
        "tags: [sepsis, shock]\nreviewer: x\n---\n"
        f"Before.\n\n## Dose\n\n{table}\n\n```\n# no heading\n```\n\nLast\nlines\n---\n"
    )
    (parsed,) = read(tmp_path, "a.md", page)
    found = one([parsed])
    assert (found.title, found.licence, found.published) == ("Sepsis", "CC-BY-4.0", "2024-05-06")
    assert (found.doi, found.keywords) == ("10.1/abc", ["sepsis", "shock"])
    assert parsed.reason == "front matter not used: `reviewer`"
    assert [s.heading for s in found.body] == ["", "Dose"]
    assert found.body[1].text == f"{table}\n\n```\n# no heading\n```\n\nLast\nlines\n---"
    plain = one(read(tmp_path, "b.md", "# **Fever**\nText.\n\nSecond\n------\nMore."))
    assert (plain.title, [(s.heading, s.text) for s in plain.body]) == (
        "Fever",
        [("", "Text."), ("Second", "More.")],
    )
    cited = "# A\n\nText.\n\n@article{a, title={B}, year=2001}\n\nTY  - JOUR\n"
    assert "@article{a" in one(read(tmp_path, "c.md", cited)).body[0].text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_read_whatever_stands_between_its_cells(tmp_path: Path, delimiter: str) -> None:
    quoted = f'"Say ""5{delimiter}6"" mg\nand rest"'
    rows = [
        ("id", "Title", "Body text", "Licence", "DOI", "PMID", "Year", "lang", "other"),
        ("7", "One", quoted, "CC0", "10.1/X", "12.0", "2020", "eng"),
        ("8", "", "First line", "", "", "", "", ""),
        ("9", "Empty", "", "", "", "", "", ""),
    ]  # fmt: skip
    table = "\ufeff" + "".join(f"{delimiter.join([*row, 'x'][:9])}\r\n" for row in rows)
    found = read(tmp_path, "a.csv", table)
    assert [p.status for p in found] == ["article", "article", "skipped"]
    assert found[0].reason == "columns not used: `other` (`columns` can name them)"
    first = one(found[:1])
    assert first.body[0].text == f'Say "5{delimiter}6" mg\nand rest'
    assert (first.title, first.licence, first.redistributable) == ("One", "CC0-1.0", True)
    assert (first.doi, first.pmid, first.published, first.language) == (
        "10.1/x",
        "12",
        "2020",
        "en",
    )
    assert found[0].native_id == "7"
    assert one(found[1:2]).title == "a, record 2"
    assert found[2].reason == "no text in `Body text`"
    assert [p.status for p in read(tmp_path, "plain.txt", table)] == [p.status for p in found]


def test_a_row_that_is_broken_does_not_touch_the_others(tmp_path: Path) -> None:
    table = 'id,text\n1,good\n2,too,many\n3\n4,"bad" quote\n\n5,also good\n6,"never closed\n7,x\n'
    found = read(tmp_path, "a.csv", table)
    assert [p.status for p in found] == ["article", *["error"] * 3, "article", "error"]
    assert "line 3: 3 cells where the first line names 2" in found[1].reason
    assert all("line" in p.reason for p in found if p.status == "error")
    lines = ['{"text": "One"}', '{"text": ', "", "[1]", '{"text": "Two", "new": 1}', '{"x": 1}']
    found = read(tmp_path, "b.jsonl", "\n".join(lines))
    assert [p.status for p in found] == ["article", "error", "error", "article", "skipped"]
    assert found[1].reason.startswith("line 2: not valid JSON")
    found = read(tmp_path, "c.json", '[{"text": "One"}, {"text": "Two"}, {"text": ')
    assert [p.status for p in found] == ["article", "article", "error"]
    assert found[2].reason.startswith("after 2 whole records, the JSON is broken")


def test_a_value_that_is_stated_twice_is_not_chosen_silently(tmp_path: Path) -> None:
    two = '{"text": "Take 5 mg.", "text": "Take 50 mg."}'
    same = '{"text": "Take 5 mg.", "text": "Take 5 mg.", "unused": 1, "unused": 2}'
    for name, content in (("a.jsonl", f"{two}\n{same}"), ("b.json", f"[{two}, {same}]")):
        found = read(tmp_path, name, content)
        assert [p.status for p in found] == ["error", "article"]
        assert found[0].reason.startswith("`text` stands there twice with two values")
    assert one(read(tmp_path, "c.json", same)).body[0].text == "Take 5 mg."


def test_json_records_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    rows = [{"title": f"T{n}", "text": "é" * n} for n in (1, 70_000, 200_000, 3)]
    for name, content in (
        ("a.json", json.dumps(rows, indent=1, ensure_ascii=False)),
        ("b.jsonl", "\n".join(json.dumps(row) for row in rows)),
    ):
        found = [p.article for p in read(tmp_path, name, content)]
        assert [len(a.body[0].text) for a in found if a] == [1, 70_000, 200_000, 3]
    assert one(read(tmp_path, "c.json", json.dumps(rows[0], indent=1))).title == "T1"


def test_what_follows_a_json_array_is_not_dropped_in_silence(tmp_path: Path) -> None:
    first, error = read(tmp_path, "a.json", '[{"text": "One"}]\n[{"text": "Two"}]\n')
    assert first.article
    assert error.status == "error"
    assert "more follows the end of the JSON array" in error.reason
    assert len(read(tmp_path, "b.json", '[{"text": "One"}]\n\n')) == 1


def test_a_table_that_does_not_say_where_its_text_is_names_the_way_out(tmp_path: Path) -> None:
    table = "Headline,body_txt,n\nOne,Some long text here,1\nTwo,More,2\n"
    (found,) = read(tmp_path, "a.csv", table)
    assert (found.record, found.status) == (-1, "skipped")
    assert "`Headline`, `body_txt`, `n`" in found.reason
    assert """-p 'columns={"body_txt": "text"}'""" in found.reason
    mapped = read(tmp_path, "a.csv", table, HEADLINE="title", body_txt="text", n="text")
    first = one(mapped[:1])
    assert first.title == "One"
    assert [(s.heading, s.text) for s in first.body] == [
        ("body_txt", "Some long text here"),
        ("n", "1"),
    ]
    assert not mapped[0].reason
    with pytest.raises(ValueError, match=r"'txet'.*Did you mean `text`\?"):
        check_columns({"a": "txet"})
    with pytest.raises(ValueError, match="nothing that an article has"):
        collect_folder(tmp_path, columns={"a": "dosage"})
    names = [name for names in FIELDS.values() for name in names]
    assert len(names) == len(set(names))
    assert columns_of(["body", "Full-Text"], {}) == {"text": ["Full-Text"]}


def test_texts_inside_objects_are_found(tmp_path: Path) -> None:
    row = {
        "PMID": 7,
        "ArticleTitle": {"#text": "T"},
        "abstract": [{"label": "AIM", "text": "a"}, {"label": "RESULTS", "text": "5 mg"}],
        "body": {"Intro": "i", "Dose": "5 mg"},
        "authors": [{"ForeName": "Ada", "LastName": "Moyo"}, {"name": "B Roe"}],
        "year": 2020.0,
    }
    found = one(read(tmp_path, "a.jsonl", json.dumps(row)))
    assert (found.pmid, found.title, found.published) == ("7", "T", "2020")
    assert found.abstract == "AIM: a\nRESULTS: 5 mg"
    assert [(s.heading, s.text) for s in found.body] == [("Intro", "i"), ("Dose", "5 mg")]
    assert found.authors == ["Ada Moyo", "B Roe"]
    found = one(read(tmp_path, "b.jsonl", '{"abstract": {"RESULTS": ["b", "c"]}, "title": "T"}'))
    assert found.abstract == "RESULTS: b\nRESULTS: c"


def test_questions_with_answers_stay_pairs(tmp_path: Path) -> None:
    line = json.dumps({"question": "What is A?", "answer": "It is B.", "url": "https://x.org"})
    found = one(read(tmp_path, "a.jsonl", line))
    assert [(s.kind, s.text) for s in found.body] == [
        ("question", "What is A?"),
        ("answer", "It is B."),
    ]
    assert (found.title, found.url) == ("What is A?", "https://x.org")


def test_parquet_with_nested_columns_is_read_from_an_archive_too(tmp_path: Path) -> None:
    table = pl.DataFrame({
        "title": ["One", None],
        "body": [[{"heading": "H", "text": "5 mg"}, {"heading": "", "text": "6 mg"}], []],
        "authors": [["Doe, Jane", "WHO"], []],
        "date": pl.Series(["2024-01-02", None]).str.to_date(),
        "abstract": ["", "Only this"],
    })  # fmt: skip
    packed = io.BytesIO()
    table.write_parquet(packed)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.parquet", packed.getvalue())
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(packed.getvalue()))
    plain = read(tmp_path, "b.parquet", packed.getvalue())
    first, second = one(plain[:1]), one(plain[1:])
    assert [(s.heading, s.text) for s in first.body] == [("H", "5 mg"), ("", "6 mg")]
    assert (first.authors, first.published) == (["Jane Doe", "WHO"], "2024-01-02")
    assert (second.abstract, second.body) == ("Only this", [])
    for name in ("a.zip", "a.parquet.gz"):
        found = list(read_file(tmp_path / name, name, ""))
        assert [p.article_id for p in found] == [first.id, second.id]
    raw = raw_record(tmp_path, "a.zip!in/a.parquet", 1)
    assert json.loads(raw)["abstract"] == "Only this"
    (broken,) = read(tmp_path, "c.parquet", packed.getvalue()[:-30])
    assert (broken.status, "damaged" in broken.reason) == ("error", True)


def test_ris_keeps_paragraphs_and_says_what_breaks_off(tmp_path: Path) -> None:
    content = (
        "\ufeffTY  - JOUR\nTI  - A title\n that goes on\nAU  - Doe, J.\nAU  - Roe, R.\n"
        "PY  - 2020/05/06/\n"
        "AB  - BACKGROUND: One.\nRESULTS: 5 mg.\nDO  - https://doi.org/10.1/X\nDB  - PubMed\n"
        "AN  - 123\nKW  - sepsis\nLA  - eng\nER  - \n\nTY  - JOUR\nTI  - Cut"
    )
    found = read(tmp_path, "a.ris", content.replace("\n", "\r\n"))
    assert [p.status for p in found] == ["article", "error"]
    first = one(found[:1])
    assert first.title == "A title that goes on"
    assert first.abstract == "BACKGROUND: One.\nRESULTS: 5 mg."
    assert (first.authors, first.published) == (["J. Doe", "R. Roe"], "2020-05-06")
    assert (first.doi, first.pmid) == ("10.1/x", "123")
    assert (first.keywords, first.language) == (["sepsis"], "en")
    assert "breaks off" in found[1].reason
    assert raw_record(tmp_path, "a.ris", 0).startswith(b'{"title": "A title\\nthat goes on"')


def test_a_word_file_loses_no_table_list_or_exponent(tmp_path: Path) -> None:
    def cell(text: str) -> str:
        return f"<w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"

    rows = [("Drug", "Dose"), ("Amoxicillin", "500 mg")]
    table = "".join(f"<w:tr>{''.join(map(cell, row))}</w:tr>" for row in rows)
    small = (
        "<w:p><w:r><w:t>10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val='superscript'/></w:rPr>"
        "<w:t>9</w:t></w:r><w:ins><w:r><w:t xml:space='preserve'> put in</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>taken out</w:delText></w:r></w:del><m:oMath/></w:p>"
    )
    content = docx("# Guide", "Give it.", f"<w:tbl>{table}</w:tbl>", "# Cells", small)
    (parsed,) = read(tmp_path, "a.docx", content)
    found = one([parsed])
    assert found.title == "Guide"
    assert [(s.heading, s.text) for s in found.body] == [
        ("", "Give it.\n\nDrug | Dose\nAmoxicillin | 500 mg"),
        ("Cells", "10⁹ put in"),
    ]
    assert parsed.reason == "parts of the document that are not read: 1 oMath"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("x/a.docx", content)
    (packed,) = read_file(tmp_path / "b.zip", "b.zip", "")
    assert (packed.article_id, packed.file) == (found.id, "b.zip!x/a.docx")
    assert raw_record(tmp_path, "b.zip!x/a.docx", 0) == content
    (broken,) = read(tmp_path, "c.docx", content.replace(b"document.xml", b"documant.xml", 1))
    assert broken.status in ("error", "skipped")
    assert broken.reason
    (empty,) = read(tmp_path, "d.docx", docx())
    assert (empty.status, empty.reason) == ("skipped", "Word file without text")


def test_a_pdf_keeps_its_lines_and_doses(tmp_path: Path) -> None:
    first = ["Hypertension in adults", "Treat hyper-", "tension with 5-", "10 mg of x."]
    second = ["Drug   Dose", "Amlodipine   5 mg", "hypertension"]
    (parsed,) = read(tmp_path, "a.pdf", pdf(first, [], second, title="Hypertension in adults"))
    found = one([parsed])
    assert found.title == "Hypertension in adults"
    lines = found.body[0].text.split("\n")
    assert lines[1:4] == ["Treat hyper-", "tension with 5-", "10 mg of x."]
    assert [line.split() for line in lines[5:7]] == [["Drug", "Dose"], ["Amlodipine", "5", "mg"]]
    assert parsed.reason == "1 of 3 pages have no text layer: 2"
    assert raw_record(tmp_path, "a.pdf", 0) == (tmp_path / "a.pdf").read_bytes()
    for name, content, status, word in (
        ("b.pdf", pdf([]), "skipped", "OCR"),
        ("c.pdf", pdf(first, password="x"), "skipped", "password"),
        ("d.pdf", b"%PDF-1.7\nbroken", "error", "cannot be read"),
    ):
        (found_one,) = read(tmp_path, name, content)
        assert (found_one.status, word in found_one.reason) == (status, True), found_one


def test_pdf_files_without_the_library_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n")
    monkeypatch.setitem(sys.modules, "pypdf", None)
    collection = collect_folder(tmp_path)
    with pytest.raises(ValueError, match=r"1 PDF file, for which .*pip install --group pdf"):
        collection.example()


def test_pages_of_any_site_are_read_but_no_error_pages(tmp_path: Path) -> None:
    table = "<table><tr><td>Drug<td>Dose<tr><td>A<td>5 mg</table>"
    page = (
        "<html lang='en'><head><title>Fever</title><meta property='og:url' content='https://x.org/a'>"
        "<link rel='license' href='https://creativecommons.org/licenses/by/4.0/'></head>"
        f"<body><h1>Fever</h1><p>Give 10<sup>3</sup> units.</p>{table}"
        "<h2>More</h2><p>Text.</p></body></html>"
    )
    found = one(read(tmp_path, "a.html", page))
    assert (found.source, found.title, found.url) == ("own", "Fever", "https://x.org/a")
    assert (found.licence, found.language) == ("CC-BY-4.0", "en")
    assert [(s.heading, s.text) for s in found.body] == [
        ("Fever", "Give 10³ units.\n\nDrug | Dose\nA | 5 mg"),
        ("More", "Text."),
    ]
    site = page.replace("<body>", "<body><nav><a href='/'>Home</a></nav><main>")
    assert "Home" not in str(one(read(tmp_path, "b.html", site)).body)
    for title in ("404 Not Found", "Access denied", "Log in to read"):
        (refused,) = read(tmp_path, "c.html", page.replace("<title>Fever", f"<title>{title}"))
        assert "an answer of a server" in refused.reason
    nlm = page.replace("https://x.org/a", "https://www.ncbi.nlm.nih.gov/error")
    (refused,) = read(tmp_path, "d.html", nlm)
    assert refused.status == "skipped"
    (refused,) = read_file(tmp_path / "a.html", "a.html", "", fetched=True)
    assert "not from the CDC" in refused.reason


def folder_of_licences(root: Path) -> None:
    for name, content in {
        "a.txt": "Text a.",
        "open/licence.txt": "This folder: CC BY 4.0.",
        "open/b.txt": "Text b.",
        "open/rows.csv": "text,licence\nText c.,CC BY-NC 4.0\nText d.,All rights reserved\n",
        "open/mine/LICENSE.TXT": "\ufeffPrivate\r\n",
        "open/mine/e.txt": "Text e.",
        "open/mine/rows.csv": "text,licence\nText f.,CC0\nText g.,All rights reserved\n",
        "open/odd/licence.txt": "Ask Jim.",
        "open/odd/h.txt": "Text h.",
        "same/b.txt": "Text b.",
        "same/licence.txt": "private",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8", newline="")
    with zipfile.ZipFile(root / "z.zip", "w") as archive:
        archive.writestr("licence.txt", "CC0")


def test_the_nearest_licence_holds_and_what_a_record_states_comes_first(tmp_path: Path) -> None:
    folder_of_licences(tmp_path)
    collection = collect_folder(tmp_path)
    articles = collection.articles.collect()
    texts = articles["body"].list.first().struct.field("text").str.slice(5, 1)
    assert dict(zip(texts, articles["licence"], strict=True)) == {
        "a": "unknown",
        "b": "private",  # the same text lies in an open folder and in a private one
        "c": "CC-BY-NC-4.0",
        "d": "unknown",
        "e": "private",
        "f": "CC0-1.0",
        "g": "private",
        "h": "unknown",
    }
    assert articles.filter("redistributable")["licence"].to_list() == ["CC0-1.0"]
    found = reasons(tmp_path)
    assert found["open/licence.txt"] == ("skipped", "read as the licence of this folder: CC-BY-4.0")
    assert found["open/mine/LICENSE.TXT"][1].endswith(": private")
    status, reason = found["open/odd/licence.txt"]
    assert (status, "names no licence" in reason) == ("error", True)
    assert "beside the archive" in found["z.zip!licence.txt"][1]
    assert "'All rights reserved' is not known" in found["open/rows.csv"][1]
    named = collect_folder(tmp_path, licence="private").articles.collect()
    unknown = named.filter(licence="unknown")["raw_file"].to_list()
    assert sorted(unknown) == ["open/odd/h.txt", "open/rows.csv"]
    with pytest.raises(ValueError, match="names no licence that Elara knows"):
        collect_folder(tmp_path, licence="mine")


def test_a_licence_of_the_folder_fills_only_what_other_formats_leave_open(tmp_path: Path) -> None:
    record = (
        "<PubmedArticle><MedlineCitation><PMID>{0}</PMID><Article><ArticleTitle>T{0}</ArticleTitle>"
        "<Abstract><AbstractText>A {0}.</AbstractText><CopyrightInformation>{1}"
        "</CopyrightInformation></Abstract></Article></MedlineCitation></PubmedArticle>"
    )
    lines = [
        "",
        "http://creativecommons.org/licenses/by-nc/4.0/",
        "© 2020 The Authors.",
        "© 2020 The Publisher. All rights reserved.",
    ]
    both = "".join(record.format(n, line) for n, line in enumerate(lines, start=1))
    (tmp_path / "a.xml").write_text(f"<PubmedArticleSet>{both}</PubmedArticleSet>")
    jats = (
        "<article><front><article-meta><article-id pub-id-type='doi'>10.1/x</article-id>"
        "<title-group><article-title>T</article-title></title-group><permissions><license>"
        "<license-p>CC BY 4.0. Commercial use is forbidden.</license-p></license></permissions>"
        "</article-meta></front><body><p>Text.</p></body></article>"
    )
    (tmp_path / "b.xml").write_text(jats)
    collection = collect_folder(tmp_path, licence="CC0-1.0")
    articles = collection.articles.collect()
    assert dict(articles.select("id", "licence").iter_rows()) == {
        "jats:10.1/x": "unknown",
        "pubmed:1": "CC0-1.0",
        "pubmed:2": "CC-BY-NC-4.0",
        "pubmed:3": "CC0-1.0",
        "pubmed:4": "unknown",
    }
    said = collection.outcomes.filter(pl.col("reason").str.contains("does not replace it"))
    assert said.collect()["article_id"].to_list() == ["pubmed:4", "jats:10.1/x"]


def test_a_private_text_gives_nothing_to_an_article_that_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "licence.txt").write_text("private")
    (tmp_path / "mine" / "a.csv").write_text("doi,abstract,keywords\n10.1/x,Secret words.,secret\n")
    (tmp_path / "b.csv").write_text("doi,text,licence\n10.1/x,Open words.,CC0\n")
    articles = collect_folder(tmp_path).articles.collect()
    # Of two records of the same source the fuller is kept, and each has its own licence.
    row = articles.row(0, named=True)
    assert articles.height == 1
    assert (row["licence"] == "private") == ("Secret" in row["abstract"])
    (tmp_path / "b.csv").unlink()
    jats = (
        "<article><front><article-meta><article-id pub-id-type='doi'>10.1/x</article-id>"
        "<title-group><article-title>Open</article-title></title-group><permissions><license>"
        "<license-p>http://creativecommons.org/licenses/by/4.0/</license-p></license></permissions>"
        "</article-meta></front><body><sec><title>S</title><p>Open words.</p></sec></body>"
        "</article>"
    )
    (tmp_path / "b.xml").write_text(jats)
    (row,) = collect_folder(tmp_path).articles.collect().rows(named=True)
    assert (row["licence"], row["abstract"], row["keywords"]) == ("CC-BY-4.0", "", [])


def test_collect_says_how_many_texts_training_leaves_out() -> None:
    def said(*licences: str) -> str:
        rows = [Article(id=str(n), source="own", title="") for n in range(len(licences))]
        table = frame(rows, Article).with_columns(licence=pl.Series(licences, dtype=pl.String))
        return left_out(table.with_columns(redistributable=pl.col("licence") == "CC0"))

    assert said("CC0", "private") == said() == ""
    both = said("CC0", "unknown", "unknown", "CC-BY-NC")
    assert both.startswith("Of 4 texts, 2 state no licence that Elara can read, and 1 state")
    assert "`private` into `licence.txt`" in both
    assert "`-p licences=any`" in both
    assert "licence.txt" not in said("CC-BY-NC")


def test_every_file_has_an_outcome_whoever_reads_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    folder_of_licences(raw)
    (raw / "a.docx").write_bytes(docx("# T", "Text."))
    (raw / "a.ris").write_text("TY  - JOUR\nTI  - T\nAB  - A\nER  - \n")
    (raw / "a.jsonl").write_text('{"text": "One"}\n{"text": 2}\n')
    (raw / "slides.pptx").write_bytes(docx("x").replace(b"word/document.xml", b"ppt/document.xmlx"))
    written = []
    for workers in (1, 2):
        into = tmp_path / str(workers)
        found = collect_folder(raw, into, workers=workers, columns={"x": "text"})
        written.append([p.read_bytes() for p in sorted(into.iterdir())])
    assert written[0] == written[1]
    files = {p.relative_to(raw).as_posix() for p in raw.rglob("*") if p.is_file()} - {"z.zip"}
    outcomes = found.outcomes.collect()
    assert set(outcomes["file"]) == files | {"z.zip!licence.txt"}
    articles = found.articles.collect()
    assert set(outcomes.filter(status="article")["article_id"]) == set(articles["id"])
    for row in articles.rows(named=True):
        assert raw_record(raw, row["raw_file"], row["raw_record"])


def test_real_tables_keep_every_text(shared_data: Path) -> None:
    path = shared_data / "phi" / "aci_bench" / "valid.csv"
    found = [p.article for p in read_file(path, "valid.csv", "")]
    notes = pl.read_csv(path)["note"].str.replace_all("\r\n", "\n").str.strip_chars().to_list()
    assert [a.body[0].text for a in found if a] == notes
    path = shared_data / "clinical_notes" / "mts_dialog" / "MTS-Dialog-ValidationSet.csv"
    table = pl.read_csv(path)
    mapping = {"dialogue": "text", "section_text": "text", "section_header": "title"}
    found = [p.article for p in read_file(path, "a.csv", "", mapping)]
    for article, row in zip(found, table.rows(named=True), strict=True):
        assert article is not None
        sections = {s.heading: s.text for s in article.body}
        for name in ("dialogue", "section_text"):
            assert sections[name] == row[name].replace("\r\n", "\n").strip()
