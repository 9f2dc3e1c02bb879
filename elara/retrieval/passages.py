"""Cut articles into passages of about 120 words that end where sentences end.

A passage names the part of the article that it stands in and its first and last character, so that
it can be shown in its place. It never reaches from one part into another. A question is no passage
of its own: it says what its answers are about. Translations stay out; the text itself is there.
A few passages (2 to 3 % in MedQuAD) are longer than what a vector reads, 256 tokens with title and
section: their end is found by its words only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from elara.records import Article, Section
from elara.text.sentences import count_words, lines, sentences

WORDS = 120
_ABSTRACT = "Abstract"
_CONTEXT = 30  # words of a question that stand above its answers
_LONG = 16  # characters that count as a word, so that code or an address has an end, too
_TOKEN = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True)
class Passage:
    """A passage of an article, with what a reader needs to judge and to find it.

    Args:
        id: `article_id#part:start-end`.
        article_id: the article.
        title: of the article.
        section: the heading above it, `Abstract`, or the question that it answers.
        part: `abstract` or `body/N`, as in `elara.records.Span`.
        start: its first character in the text of that part.
        end: the character behind its last one.
        text: the passage as it stands there.
        url: where a reader finds the article.
        licence: SPDX identifier of the article, `private` or `unknown`.
        pmid: PubMed id of the article, or "".
        topics: the specialties of the article.
        language: ISO 639-1 code of the article.
        published: when the article was published.
        journal: journal, site or publisher.
    """

    id: str
    article_id: str
    title: str
    section: str
    part: str
    start: int
    end: int
    text: str
    url: str
    licence: str
    pmid: str
    topics: tuple[str, ...]
    language: str
    published: str
    journal: str

    @property
    def in_context(self) -> str:
        """The text below title and section, as it is indexed."""
        above = [self.title, *([self.section] if self.section != self.title else [])]
        return "\n".join(line for line in (*above, self.text) if line)


def passages(article: Article, words: int = WORDS) -> Iterator[Passage]:
    """Cut an article into passages.

    Args:
        article: a clean article.
        words: about how many a passage has; no sentence is cut that has fewer.
    """
    for part, section, text in _parts(article):
        for start, end in spans(text, words):
            yield Passage(
                id=f"{article.id}#{part}:{start}-{end}",
                article_id=article.id,
                title=article.title,
                section=section,
                part=part,
                start=start,
                end=end,
                text=text[start:end],
                url=article.url,
                licence=article.licence,
                pmid=article.pmid,
                topics=tuple(article.topics),
                language=article.language,
                published=article.published,
                journal=article.journal,
            )


def _parts(article: Article) -> Iterator[tuple[str, str, str]]:
    """The parts that are cut: name, what stands above, text."""
    yield "abstract", _ABSTRACT, article.abstract
    question = ""
    for number, section in enumerate(article.body):
        if section.kind == "question":
            question = _asked(section)
        elif section.kind != "translation":
            above = question if section.kind == "answer" and question else section.heading
            yield f"body/{number}", above, section.text


def _asked(section: Section) -> str:
    words = section.text.split()
    more = " …" if len(words) > _CONTEXT else ""
    return section.heading or " ".join(words[:_CONTEXT]) + more


def spans(text: str, words: int = WORDS) -> Iterator[tuple[int, int]]:
    """Where the passages of a text begin and end, without the blanks around them.

    All have nearly the same length: a text of 130 words gives two of 65, and none of 10.

    Args:
        text: any text.
        words: see `passages`.
    """
    pieces = list(_pieces(text, words))
    total = sum(_length(piece) for piece in pieces)
    if not total:
        return
    number = -(-total // words)
    start = at = 0
    done = 0.0
    cuts = 1
    for piece in pieces:
        length = _length(piece)
        # The cut stands where it is closest to an equal share.
        if at > start and done + length / 2 > total * cuts / number and cuts < number:
            yield from _trimmed(text, start, at)
            start, cuts = at, cuts + 1
        at += len(piece)
        done += length
    yield from _trimmed(text, start, at)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A span without the blanks around it; none where it has no letter and no digit."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    if re.search(r"[^\W_]", piece):
        yield start, start + len(piece.strip())


def _pieces(text: str, words: int) -> Iterator[str]:
    """The text in pieces that stay whole: sentences, rows, and parts of what is longer."""
    for line in lines(text):
        for sentence in sentences(line):
            if _length(sentence) <= words:
                yield sentence
            else:
                yield from _cut(sentence, words)


def _cut(text: str, words: int) -> Iterator[str]:
    """A text without the end of a sentence in pieces of at most so many words."""
    held, length = "", 0
    for token in _TOKEN.findall(text):
        # Without blanks a token may be a whole page; so many characters are never too many words.
        step = words if _length(token) > words else len(token)
        for at in range(0, len(token), step):
            piece = token[at : at + step]
            more = _length(piece)
            if held and length + more > words:
                yield held
                held, length = "", 0
            held, length = held + piece, length + more
    if held:
        yield held


def _length(text: str) -> int:
    return max(count_words(text), len(text) // _LONG)
