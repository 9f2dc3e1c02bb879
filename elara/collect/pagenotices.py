"""Tell notices, menus, references and lines about people from an article, by their wording."""

from __future__ import annotations

import re

_DATE = (
    r"(?:\w+ (?:\d{1,2},? )?\d{4}|\d{4}|\d{1,2}[ /.-]\w+[ /.-]\d{2,4}|\d{4}-\d\d-\d\d)"
    r"(?:,? \d{1,2}:\d\d.*)?\.?"
)
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
# Sentences and lines that stand on every page of a series, each as a whole.
_NOTICES = re.compile("|".join(f"(?:{pattern})" for pattern in (
    r"(?:date |page |content |this page was )?(?:last )?"
    rf"(?:reviewed|updated|created|modified|posted)(?: on)?:? {_DATE}",
    rf"(?:\d{{1,2}} )?(?:{_MONTHS}) (?:\d{{1,2}},? )?\d{{4}}",
    r"content source:.*",
    r"persons using assistive technology might not be able to fully access .*",
    r"for assistance, please send e-mail to: .*",
    r"type 508 accommodation and the title of the report .*",
    r"use of trade names (?:and commercial sources )?is for identification only and does not .*",
    r"references to non-cdc sites on the internet are provided as a service .*",
    r"(?:the )?cdc is not responsible for the content of (?:web )?pages found at these sites\.",
    r"url addresses listed in mmwr were current as of the date of publication\.",
    r"(?:disclaimer:? )?all (?:html versions of mmwr|mmwr html versions).*",
    r"(?:this|the) conversion (?:may have|might|may) result(?:ed)? in character translation .*",
    r"users (?:should not rely on this html document, but )?are referred to the electronic pdf .*",
    r"an original paper copy of this issue can be obtained from .*",
    r"(?:contact gpo|telephone: .*|superintendent of documents.*) for current prices\.?",
    r"\**questions or messages regarding errors in formatting should be addressed to .*",
    r"mmwr and morbidity and mortality weekly report are service marks .*",
    r"(?:please note:?\.? )?(?:an )?(?:errat(?:um|a) (?:has|have) been published|this report has "
    r"been corrected)\b.*",
    r"below is the republished report\.|please click here to view the detailed changes .*",
    r"to view the errat(?:um|a), please click here.*",
    r"peer[- ]reviewed",
    r"view suggested citation",
    r"view page in:.*",
    r"was this page (?:helpful|useful)\??|yes no|yes|no",
    r"enter your (?:e-?mail|mail|phone).*|please do not enter personal information .*",
    r"this content is provided (?:by|as a service of) .*",
    r"content produced (?:here|by .*) is carefully reviewed .*",
    r".*scientists and other experts review .*",
    r"it was written for education\.",
    r"(?:the )?.{2,60} conducts and supports clinical trials .*",
    r"find out if (?:they|clinical (?:trials|studies)) are right for you.*",
    r"(?:the )?information (?:provided )?here(?:in)? should not be used during .* emergency .*",
    r"a licensed (?:physician|medical professional) should be consulted for diagnosis .*",
    r"call 911 for all medical emergencies\.",
    r"updated by:.*|also reviewed by .*|review date \S+",
    r"error processing ssi file",
    r"cite this article",
    r"(?:the )?(?:conclusions, findings, and )?opinions expressed by (?:the )?authors contributing "
    r"to this journal do not necessarily reflect .*",
    r"(?:figure|table|box)s? \d+[a-z]?\.?",
    r"doi: 10\.\S+",
    r"table of contents – volume .*",
    r"(?:an official website of the united states government|here’s how you know|here's how you "
    r"know|official websites use \.gov|secure \.gov websites use https).*",
    r"follow us(?: on .*)?|share (?:this page|this article|on \w+)|print(?: this page)?"
    r"|subscribe|minus|plus",
)), re.IGNORECASE)  # fmt: skip
# Long lines that are known by how they begin and by what they hold.
_CITE_THIS = re.compile(
    r"(?:view )?(?:suggested citation|citable reference)\b.*(?:19|20)\d\d.*",
    re.IGNORECASE | re.DOTALL,
)
_AFFILIATIONS = re.compile(r"[Aa]uthor [Aa]ffiliations?:.*", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[a-z0-9)][.?!])\s+(?=[A-Z*])|\n")
# Tells somebody what to do, or how much of something.
ADVICE = re.compile(r"\b(?:never|do not|don't|should|must|give|take|avoid)\b|\d\s?m[gl]\b", re.I)


def is_notice(text: str) -> bool:
    """Whether a whole block is one of the notices that stand on every page of a series.

    Args:
        text: of the block. One sentence that is no notice makes it part of the article.
    """
    if _CITE_THIS.fullmatch(text) or _AFFILIATIONS.fullmatch(text):
        return not ADVICE.search(text)
    if text.endswith("(View author affiliations)") or _is_about_people(text):
        return True
    return all(
        _NOTICES.fullmatch(sentence)
        for part in _SENTENCE.split(text)
        if (sentence := " ".join(part.split()))
    )


_DEGREE = re.compile(r", (?:MD|PhD|MPH|DO|RN|DrPH|PharmD|DVM|MSPH|MHS|MBBS|MSc?|MA|MBA|BA|BS)\b")
_PEOPLE = re.compile(
    r"(?:chair(?:man|person|woman)?|executive secretary|(?:ex-officio )?members?|liaison "
    r"representatives?|corresponding (?:author|preparer)s?|prepared by|editors?|reviewers?"
    r"|consultants?|\W?\d? ?current affiliations?):? .*",
    re.IGNORECASE | re.DOTALL,
)
_PLACE = re.compile(
    r"\b(?:University|Department|Cent(?:er|re)|Hospital|Division|Institute|School|College|CDC)\b|@"
)
_AFFILIATION = re.compile(r"(?:and )?[\d,*†‡§¶]+ ?[A-Z]")
_FINDING = re.compile(
    r"\b(?:patients?|persons with|doses?|treat(?:ed|ment)|received|vaccinated|infected|symptoms?)\b"
)
_LIFE = re.compile(
    r"(?:Drs?|Ms|Mr|Mrs|Prof)\.? [A-Z][\w’'. -]{1,40} (?:is|was) (?:currently )?(?:an? |the )?"
    r"(?:[\w-]+[ ,]+){0,5}(?:professor|instructor|physician|epidemiologist|scientist|fellow"
    r"|director|officer|student|lecturer|veterinarian|microbiologist|researcher|resident)\b.*",
    re.DOTALL,
)


def _is_about_people(text: str) -> bool:
    """Whether a block says who wrote, reviewed or advised, and where they work."""
    if ADVICE.search(text) or _FINDING.search(text):
        return False
    if _LIFE.fullmatch(text):
        return True
    degrees = len(_DEGREE.findall(text))
    if (degrees > 1 and 25 * degrees >= len(text.split())) or (
        _PEOPLE.fullmatch(text) and (degrees or _PLACE.search(text))
    ):
        return True
    places = [piece.strip() for piece in text.split(";")]
    marked = sum(bool(_AFFILIATION.match(place)) for place in places)
    return len(places) > 1 and marked > 0.8 * len(places) and bool(_PLACE.search(text))


_CITATION = re.compile(
    r"\b(?:1[89]|20)\d\d[a-z]?\b.*?(?:[;:(]|\bdoi\b|https?:|\bpp?\.)|https?://|\bdoi:|\bPubMed\b"
    r"|\b(?:1[89]|20)\d\d[.)]?$|\bAccessed\b|\bAvailable (?:at|from)\b|\bet al\b",
    re.IGNORECASE,
)
_NO_ENTRY = re.compile(r"(?:table|figure|box|abbreviation|note|key)s?\b|[*†‡§¶#]", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*(?:- |\d+\.\s|\[\d+\]\s*)+")


def is_citation(text: str, kind: str) -> bool:
    """Whether a block below the heading of a list of references is one of its entries.

    Args:
        text: of the block.
        kind: of the block. A table never is one.
    """
    if kind == "table":
        return False
    lines = [line for line in text.split("\n") if line.strip()]
    cited = sum(bool(_CITATION.search(line)) for line in lines)
    if kind == "list":
        return 2 * cited >= len(lines) or not any(ADVICE.search(line) for line in lines)
    if _NO_ENTRY.match(text) or ADVICE.search(_NUMBER.sub("", text)):
        return False
    return len(text.split()) < 5 or cited > 0


# Below these, lines that are no sentences are addresses and names of other pages, linked or not.
_ELSEWHERE = (
    r"(?:for )?(?:more|further) information about .*|you (?:may|might) also like.*|related "
    r".{0,20}topics|related (?:links|pages|articles)|was this page (?:helpful|useful)\??"
    r"|sign up .*|subscribe.*|stay connected.*|get e-?mail updates.*"
)
_MENU = re.compile(
    r"(?:related|similar|recommended) ?(?:links?|pages?|articles?|topics?|content|information|items"
    r"|materials?|resources?|stories|news|posts|sites|publications?)?|see also|on this page"
    r"|in this (?:section|article|issue|topic)|(?:table of )?contents|quick links|useful links"
    r"|external links|further (?:reading|information)|more (?:information|on|about|from|in)\b.*"
    r"|(?:for more|additional) (?:information|resources)|learn more.*|resources?|links?|navigation"
    r"|navigate this article|share\b.*|follow us.*|connect with us|popular.*|latest.*|trending.*"
    r"|featured.*|top stories|news|languages?|(?:article )?tools|downloads?|figures?|tables?"
    r"|topics?|article metrics|about (?:us|mmwr)|contact us|explore.*|browse.*|eid search options"
    rf"|{_ELSEWHERE}",
    re.IGNORECASE,
)


def _last_part(heading: str) -> str:
    return heading.rsplit(": ", 1)[-1].strip(" :.")


def is_menu(heading: str) -> bool:
    """Whether links below this heading lead to other pages, and are no text of this one.

    Args:
        heading: of a section, or a line that announces a list.
    """
    return bool(_MENU.fullmatch(_last_part(heading)))


# A line that is a link to a file.
DOWNLOAD = re.compile(
    r"(?:.*\b)?(?:pdf|ris|epub|xml|print)\b.{0,24}|.*\[.*\d+ ?[kmg]?b\]|(?:view|see) larger.*",
    re.IGNORECASE,
)


def is_elsewhere(heading: str) -> bool:
    """Whether what is below this heading names other pages, organisations and ways to write to.

    Args:
        heading: of a section.
    """
    return bool(re.fullmatch(_ELSEWHERE, _last_part(heading), re.IGNORECASE))
