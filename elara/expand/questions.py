"""Word the questions of the recipes, in the language of the text that answers them."""

from __future__ import annotations

import random
import re

from elara.text.wordlist import is_word

# What a heading asks about, by the words it holds, to the questions that it answers. `{t}` is the
# topic; `{is_}` and `{does}` agree with it in number.
_ENGLISH_TOPIC = {
    r"symptom|signs?\b|clinical picture|presentation|recogni": (
        "What are the symptoms and signs of {t}?",
        "How {does} {t} present?",
    ),
    r"diagnos|assessment|work-?up|\btests?\b|detection|measurement": (
        "How {is_} {t} diagnosed?",
        "How should a patient be assessed for {t}?",
    ),
    r"treat|management|therap|medication": (
        "How {is_} {t} treated?",
        "What is the treatment of {t}?",
    ),
    r"prevent|prophyla|vaccin": ("How can {t} be prevented?", "What prevents {t}?"),
    r"first aid": ("What first aid is given for {t}?",),
    r"risk|who is": ("Who is at risk of {t}?",),
    r"cause|transmission|pathogenesis|aetiolog|etiolog": ("What causes {t}?",),
    r"complication|prognosis|outlook|outcome": ("What can {t} lead to?",),
    r"epidemiolog|burden|how common": ("How common {is_} {t}?",),
}
_TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "topic": (
            "What should a clinician know about {t}?",
            "Please give an overview of {t}.",
            "What are the main facts about {t}?",
        ),
        "section": (
            'Explain for a clinician: {t}, in particular "{heading}".',
            'On the subject of {t}: what is to be said under "{heading}"?',
        ),
        "article": (
            'What are the key points of the article "{title}"?',
            'Summarize the article "{title}" for a clinician.',
            'What does the article "{title}" say?',
        ),
        "article_section": (
            'What does the article "{title}" say under the heading "{heading}"?',
            'Explain the part "{heading}" of the article "{title}".',
        ),
        "conclusion": (
            'An article titled "{title}" reports: {findings}\n\nWhat does it conclude?',
            '{findings}\n\nThese findings come from the article "{title}". What follows from them?',
        ),
    },
    "es": {
        "topic": (
            "¿Qué debe saber un profesional de la salud sobre {t}?",
            "Resuma lo más importante sobre {t}.",
            "¿Qué se sabe sobre {t}?",
        ),
        "section": (
            "Explique el tema «{t}», en particular «{heading}».",
            "Sobre el tema «{t}»: ¿qué hay que decir en el apartado «{heading}»?",
        ),
        "article": (
            "¿Cuáles son los puntos clave del artículo «{title}»?",
            "Resuma el artículo «{title}» para un profesional de la salud.",
            "¿Qué dice el artículo «{title}»?",
        ),
        "article_section": (
            "¿Qué dice el artículo «{title}» en el apartado «{heading}»?",
            "Explique la parte «{heading}» del artículo «{title}».",
        ),
        "conclusion": (
            "Un artículo titulado «{title}» informa: {findings}\n\n¿Qué concluye?",
            "{findings}\n\nAsí informa el artículo «{title}». ¿Qué se deduce de ello?",
        ),
    },
    "fr": {
        "topic": (
            "Que doit savoir un clinicien au sujet de « {t} » ?",
            "Résumez l'essentiel au sujet de « {t} ».",
            "Que sait-on au sujet de « {t} » ?",
        ),
        "section": (
            "Expliquez le sujet « {t} », en particulier « {heading} ».",
            "Au sujet de « {t} » : que faut-il dire sous le titre « {heading} » ?",
        ),
        "article": (
            "Quels sont les points clés de l'article « {title} » ?",
            "Résumez l'article « {title} » pour un clinicien.",
            "Que dit l'article « {title} » ?",
        ),
        "article_section": (
            "Que dit l'article « {title} » dans la partie « {heading} » ?",
            "Expliquez la partie « {heading} » de l'article « {title} ».",
        ),
        "conclusion": (
            "Un article intitulé « {title} » rapporte : {findings}\n\nQu'en conclut-il ?",
            "{findings}\n\nCes résultats proviennent de l'article « {title} ». Qu'en déduit-on ?",
        ),
    },
    "pt": {
        "topic": (
            "O que um profissional de saúde deve saber sobre {t}?",
            "Resuma o mais importante sobre {t}.",
            "O que se sabe sobre {t}?",
        ),
        "section": (
            'Explique o tema "{t}", em particular "{heading}".',
            'Sobre o tema "{t}": o que se deve dizer na seção "{heading}"?',
        ),
        "article": (
            'Quais são os pontos principais do artigo "{title}"?',
            'Resuma o artigo "{title}" para um profissional de saúde.',
            'O que diz o artigo "{title}"?',
        ),
        "article_section": (
            'O que diz o artigo "{title}" na seção "{heading}"?',
            'Explique a parte "{heading}" do artigo "{title}".',
        ),
        "conclusion": (
            'Um artigo intitulado "{title}" relata: {findings}\n\nO que ele conclui?',
            '{findings}\n\nEstes achados são do artigo "{title}". O que se conclui deles?',
        ),
    },
    "sw": {
        "topic": (
            "Mhudumu wa afya anapaswa kujua nini kuhusu {t}?",
            "Eleza mambo muhimu kuhusu {t}.",
        ),
        "section": (
            'Eleza mada "{t}", hasa sehemu ya "{heading}".',
            'Kuhusu mada "{t}": sehemu ya "{heading}" inaeleza nini?',
        ),
        "article": (
            'Ni mambo gani makuu ya makala "{title}"?',
            'Makala "{title}" inasema nini?',
        ),
        "article_section": (
            'Makala "{title}" inasema nini chini ya kichwa "{heading}"?',
            'Eleza sehemu ya "{heading}" ya makala "{title}".',
        ),
        "conclusion": (
            'Makala yenye kichwa "{title}" inaripoti: {findings}\n\nInahitimisha nini?',
            '{findings}\n\nMatokeo haya yanatoka katika makala "{title}". Yanaonyesha nini?',
        ),
    },
}
LANGUAGES = tuple(_TEMPLATES)

_NUMBERING = re.compile(r"^\s*(?:\d+(?:\.\d+)*\.?|[IVX]+\.|[A-Z]\.)\s+")
_CITATION = re.compile(
    r"\s*\[\s*\d+(?:\s*[,–-]\s*\d+)*\s*\]|\s*\((?:see\s+)?(?:tables?|figs?\.?|figures?)\s*[\w.]+\)",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"(?<![suiy])s$|ies$")
_SINGULAR = re.compile(r"(?:diabetes|measles|mumps|rabies|shingles|herpes|rickets|scabies|aids)$")
_SENTENCE = re.compile(
    r"[?!:.]|\b(?:is|are|was|were|does|do|can|should|what|how|why|when|effects?|study|trial|review|"
    r"versus|vs|among|during|report|analysis)\b",
    re.IGNORECASE,
)


def bare(title: str) -> str:
    """A title or heading as it is quoted: no final point, number, citation or outer bracket.

    Args:
        title: as the article has it; a heading may hold the headings above it, after colons.
    """
    text = _CITATION.sub("", " ".join(title.split())).strip()
    if text.startswith("[") and text.rstrip(".").endswith("]"):
        text = text.rstrip(".")[1:-1]
    last = text.rpartition(": ")[2] if re.match(r"\d+\.\s", text) else text
    return _NUMBERING.sub("", last).rstrip(" .:").replace('"', "'")


def is_topic(title: str) -> bool:
    """Whether a title names a subject, as that of a topic page does, and says nothing about it.

    Args:
        title: from `bare`.
    """
    return 0 < len(title.split()) <= 5 and not _SENTENCE.search(title)


def in_sentence(title: str) -> str:
    """A topic as it stands inside a sentence: a capital stays only where it belongs to the word.

    Args:
        title: from `bare`.
    """
    first, blank, rest = title.partition(" ")
    small = first[:1].lower() + first[1:]
    plain = small.islower() and all(is_word(part) for part in re.split(r"[-/]", small))
    return f"{small if plain else first}{blank}{rest}"


def ask(
    kind: str,
    language: str,
    chance: random.Random,
    *,
    title: str,
    heading: str = "",
    findings: str = "",
) -> str:
    """Word a question.

    Args:
        kind: `topic`, `section`, `article`, `article_section` or `conclusion`.
        language: one of `LANGUAGES`.
        chance: chooses among the phrasings.
        title: of the article, from `bare`.
        heading: of the section, from `bare`.
        findings: what a conclusion is to be drawn from.
    """
    topic = in_sentence(title) if language == "en" else title
    wordings = _TEMPLATES[language][kind]
    if kind == "section" and language == "en":
        for pattern, questions in _ENGLISH_TOPIC.items():
            if re.search(pattern, heading, re.IGNORECASE):
                wordings = questions
                break
    last = title.split()[-1].casefold()
    many = bool(_PLURAL.search(last)) and not _SINGULAR.search(last)
    return chance.choice(wordings).format(
        t=topic,
        title=title,
        heading=heading,
        findings=findings,
        is_="are" if many else "is",
        does="do" if many else "does",
    )
