"""List the words of licence statements: names of licences in several languages, and their context.

All patterns are for text without accents, with one kind of dash, quote and blank (see
`elara.collect.licences`). What makes a statement free is closed: the name of a free licence, the
`WORDS` in which publishers say that it holds, and their set phrases (`HARMLESS`). A word that is in
none of these may take back what the name gives, in whatever language.

Source: the deeds and their translations, https://creativecommons.org/licenses/list.en
"""

from __future__ import annotations

import re

ATTRIBUTION = (
    r"(?:attribution|atribucion|reconocimiento|atribuicao|attribuzione|namensnennung|paternite"
    r"|naamsvermelding|by\b)"
)

# The elements that a licence's name lists after the attribution.
ELEMENTS = {
    "NC": (
        r"non?[- ]?com+erc\w*|nc\b|not[- ]for[- ]commercial\w*"
        r"|(?:pas d'|sans )(?:utilisation|usage)s?[- ]commerciale?s?"
        r"|(?:utilisation|usage)[- ]non[- ]commerciale?"
        r"|(?:uso[- ])?no[- ]comercial|sin[- ]uso[- ]comercial|(?:uso[- ])?nao[- ]?comercial"
        r"|nicht[- ]?kommerziell\w*|keine[- ]kommerzielle[- ]nutzung|niet[- ]?commercieel"
    ),
    "ND": (
        r"no[- ]?deriv\w*|nd\b|pas[- ]de[- ](?:modifications?|travaux[- ]derives)"
        r"|sin[- ]?(?:obras?[- ]?)?derivad[ao]s?|sem[- ]?(?:obras?[- ]?)?deriva\w+"
        r"|keine[- ]bearbeitung(?:en)?|non[- ]opere[- ]derivate|geen[- ]afgeleide[- ]werken"
    ),
    "SA": (
        r"share[- ]?alike|sa\b|partage[- ](?:dans[- ]les[- ]memes[- ]conditions|a[- ]l'identique)"
        r"|compartir[- ]?igual|compartilha\w*[- ]?igual"
        r"|weitergabe[- ]unter[- ]gleichen[- ]bedingungen"
        r"|condividi[- ]allo[- ]stesso[- ]modo|gelijk[- ]?delen"
    ),
}
# What a name may end with: how far a version reaches, in words that change nothing.
PORTED = (
    r"(?:[ ,]+(?:generic|unported|international|internacional|internazionale|universal|igo"
    r"|non (?:transpose|porte|portata)|nao adaptada|no portada|nicht portiert"
    r"|deutschland|germany|france|espana|spain|italia|italy|brasil|brazil|us|united states|uk)\b)*"
)

PUBLIC = re.compile(
    r"\b(?:in|to|into|dans|en|im|nel|no|em|de) (?:(?:the|le|el|il|o|[aoe]l) )?"
    r"(?:public domain|domaine public|dominio publico|pubblico dominio|dominio pubblico)\b"
    r"(?: (?:in|within) the (?:usa?|u\.s\.a?\.?|united states))?"
    r"|\bpublic[- ]domain(?: (?:dedication|work|mark|declaration|licen[cs]e))?\b|\bgemeinfrei\b"
    r"|\bwork of the (?:u\.?s\.?|united states) government|\bfree of all copyright",
    re.IGNORECASE,
)

_WHO = r"(?:publisher|author|copyright holder|licensor)(?:s|\(s\))?"
_FROM = rf"(?: (?:from|of) (?:the )?{_WHO}(?: (?:or|and) (?:the )?{_WHO})?)?"
_COMMERCIAL = r"commercial(?:ly)?(?: (?:re-?)?use| purposes?)?"
HARMLESS = re.compile(
    "|".join((
        # What nobody need do, and what is not forbidden.
        r"\bwithout (?:(?:the|any|need|for|to|having|further|prior|additional|special|explicit"
        rf"|written|ask|asking|seek|seeking|obtain|obtaining) )*permissions?\b{_FROM}",
        rf"\bno (?:\w+ )?permissions? (?:is|are) (?:required|needed|necessary)\b{_FROM}",
        r"\b(?:and is )?(?:therefore )?without (?:(?:any|further) )*"
        r"(?:restrictions?|limitations?|charge|fees?|payment|copyright)\b",
        r"\b(?:no|some) rights reserved|\bno (?:known )?copyright(?: restrictions?)?\b",
        r"\bnot subject to (?:any )?(?:u\.?s\.? )?copyright(?: protection)?"
        r"(?: in the united states)?",
        r"\b(?:sem restric(?:oes|ao)|sin restricci(?:ones|on)|sans (?:aucune )?restrictions?"
        r"|ohne einschrankung(?:en)?|senza (?:alcuna )?(?:restrizion[ei]|limitazion[ei]))\b",
        r"\bfree of charge\b|\bnon-?exclusive\b",
        # Commercial use, allowed by name.
        rf"\b(?:even|including|also)(?: for)? {_COMMERCIAL}(?: (?:and|or) non-? ?{_COMMERCIAL})?",
        rf"\b(?:both )?{_COMMERCIAL} (?:and|or|as well as) non-? ?{_COMMERCIAL}",
        r"\bcommercial (?:re-?)?use (?:is|are) (?:also |expressly |explicitly )?"
        r"(?:permitted|allowed)",
        r"\b(?:y compris|meme) (?:a des fins|pour (?:un|une|des) (?:usages?|utilisations?|fins)) "
        r"commerciale?s?",
        r"\b(?:incluso|inclusive|tambien|tambem)(?: (?:con|para|com))?(?: (?:fines|fins|usos?))? "
        r"comercia\w+",
        r"\b(?:auch|sogar)(?: fur)? kommerziell\w*(?: zwecke)?",
        r"\banche (?:a|per) (?:fini|scopi) commerciali",
        # How to give credit, and where to read more.
        r"\b(?:if|whether) (?:any )?changes (?:were|are|have been) made",
        r"\bmust be (?:included|cited|credited|attributed|acknowledged)|,? modified, built upon"
        r"|\bor otherwise used by anyone|\bmust maintain attribution|^(?:rights|licen[cs]e):",
        r"\bpublished by (?:\w+ ){1,6}(?=under the terms of)",
        r",? first published in [^,;]{1,80},(?= is properly cited)",
        r"\bin accordance with accepted academic practice",
        r"\bno use, distribution,? or reproduction is permitted (?:which|that) does not comply "
        r"with these terms",
        r",? but not in any way that suggests the licensor endorses you or your use",
        r"\b(?:in any reproduction of this article,? )?there should (?:not be any|be no) "
        r"suggestion that [^.;]{0,90}\bendorses? [^.;]{0,90}",
        r"\bthe use of the \w+ logo is not permitted",
        r"\bthis notice should be preserved along with the article's original url",
        r"\bto view a copy of th(?:is|e) licen[cs]e,? (?:please )?visit",
        r"\bas specified on the [\w ]{1,40} pages",
        r"\bthe terms on which this article has been published allow the posting of the accepted "
        r"manuscript in a repository by the author\(s\) or with their consent",
        # Borrowed pictures and data sets that an article brings along.
        r"(?:the )?images or other third[- ]party materials? in this (?:article|chapter|book) are "
        r"included in the (?:article|chapter|book)'s creative commons licen[cs]e,? unless "
        r"indicated otherwise in (?:a|the) credit line(?: to the material)?",
        r"if (?:the )?material is not included (?:in the (?:article|chapter|book)'s|under the) "
        r"creative commons licen[cs]e(?: and your intended use is not permitted by statutory "
        r"regulation or exceeds the permitted use)?,? (?:you|users) will need to obtain permission "
        r"(?:directly )?from the (?:copyright|licen[cs]e) holder(?: to reproduce the material)?",
        r"the creative commons public domain dedication waiver \([^()]{0,80}\) applies to the data "
        r"made available in this article,? unless otherwise (?:stated|noted)"
        r"(?: in a credit line to the data)?",
    )),
    re.IGNORECASE,
)  # fmt: skip

# The words in which publishers say that a free licence holds for this text.
_WORDS = """
booklet brochure content contents factsheet guidance guideline guidelines handbook leaflet
manual notes report reports site slides websites
a access accordance adapt adaptation adaptations adapted all allow allowed allowing allows
also an and any anyone appropriate appropriately are article article's articles's as at
attribute attributed attribution author author's authors authors' available be been behalf
bibliographic book both build built by can cc cc-by chapter chapter's citation cite cited
code common commons complete conditions content copied copies copy copying copyright
correctly create creative creator creator's creators credit credited date dated dc
declaration dedicated dedication deed derivative described distribute distributed
distributing distribution document documents doi download downloaded duly either employee
employees every folder followed for format forms forum forums free freely from full fully
further general generic give given gives government granted grants has have he here holder
holders i identified identifier in included including indicate indicated indication
information international into is issue it its journal lawful leaflets legal legalcode
licence licence's licenced licences's license license's licensed licensee licensing link
linked long made make makes manuscript mark material materials may medium medium's mentioned
modify more notice of on once online open open-access or original originally other others
our owner owners page paper parties people perform permit permits permitted permitting
placed please post posted pre-print preprint print project proper properly provide provided provides
providing public publication publication's published purpose purposes re-use read readers record
redistribute redistributed redistribution reference referenced released remix reprinted
reproduce reproduced reproducing reproduction reuse reused reusing s same see seen share
shared sharing should so source sources spdx spdx-license-identifier state stated states
stipulates subject such synthetic terms text text's texts that the their these they this
through title to transform translate transmit transmitted tweak u under universal unported
unrestricted upon url us use used user users uses using v version visit volume way website's
well which website with within work work's works worldwide written you your

acces auteur auteurs aux ce cet cette citee cites condition contenu correctement d d'un
d'une dans de des diffuse diffusee disponible disposition distribue distribuee du dument en
est et il l l'article l'auteur l'oeuvre l'utilisation la le les libre mis mise oeuvre
originale ou ouvert partage permet publie publiee publies qu'il que qui s'agit selon soient
soit sont sous support termes texte tout toute travail un une usage utilisation

abierto acceso al articulo autor autores bajo citada citado con contenido correctamente
cualquier cuando debidamente del distribucion distribuida distribuido distribuye e el es
esta este estos las licencia los medio o obra permite permiten por publica publicacion
publicada publicado reproduccion se sea siempre su terminos texto trabajo una uso y

aberto acesso artigo com conteudo corretamente da das desde disponivel distribuicao do dos
em irrestrita irrestrito licenca licenciada licenciado meio os permitindo qualquer
reproducao seja ser sob termos trabalho um uma

artikel autoren beitrag creative-commons-lizenz dem den der die diese dieser dieses eine
einer erlaubt genannt inhalt ist jedem korrekt lizenz lizenziert mit nutzung oder
open-access-artikel originalwerk quelle sofern steht und uneingeschrankte unter verbreitung
verfugbar veroffentlicht vervielfaltigung von werden werk wird wurde zitiert zu

accesso aperto articolo autore autori che citato consente contenuto della di disponibile
distribuita distribuito distribuzione gli l'opera l'uso lavoro licenza lo mezzo opera
permette pubblicata pubblicato purche qualsiasi questa questo rilasciato riproduzione
secondo sia sotto termini testo

beschikbaar deze dit een gepubliceerd het licentie onder tekst valt van
"""
WORDS = frozenset(_WORDS.split())

# Words of publishers in an order that means another text, another time, or other terms.
_THING = r"(?:content|articles?|materials?|works?|documents?|texts?)"
CONTRARY = re.compile(
    r"\bmodified §|\bun- ?§|\bcited (?:work|article|text)"
    r"|\bfrom \d|\bother (?!forums?\b)|\bgiven to\b"
    r"|\boriginal(?:ly)?(?: \w+)? (?:is|was|under|available|published|released)\b"
    r"(?! (?:properly|correctly|duly|appropriately|cited|credited|given|in))"
    # What may be, and what is granted to somebody else.
    r"|\b(?:may|can) (?:be )?(?:made )?(?:available|published|licen[cs]ed|released|dedicated)\b"
    r"|\b(?:may|can) (?:use|choose|grant) (?:a |an |the )?§"
    r"|\bgrant(?:s|ed)? the (?:government|journal|author|owner)"
    # Another version, another work, what others wrote, what is told about the text.
    r"|\b(?!(?:an?|the|this|cette|la|licen[cs]e|of|in|under|and) )[\w'-]+ version\b"
    r"|\bversion (?:on|at|by)\b"
    r"|\b(?:the|a) pre-?prints?\b|^pre-?print\b"
    r"|\bbibliographic (?!citation)"
    r"|(?<!legal )\bcode\b|\bcites\b|\busers? (?:content|text|work)|\b(?:shared|posted) by users\b"
    r"|\b(?:adapted|reproduced|reprinted|copied|remixed|reused|transformed) from\b"
    r"|\ban? (?:adaptation|copy|reproduction|derivative|reprint)\b"
    # Some of the texts, or all that are of a kind.
    rf"|\bidentified\b|\bwith (?:this|the) mark\b|\bopen[- ]access {_THING} (?:is|are)\b"
    rf"|(?:^|[.;:]) ?{_THING} (?:of|by|so|that|which|with)\b"
    # A pointer to the text of a licence.
    r"|(?:^|[.;]) ?(?:read|use|see the|link to|more information|information|share|posted?)\b"
    r"[^.;]{0,40}§|\bshare the link\b|§:? see here\b",
    re.IGNORECASE,
)  # fmt: skip

# What a licence behind a line of names may be for, instead of the text.
PART = re.compile(
    r"\b(?:fig(?:s|ures?|uras?)?|abbildung\w*|images?|imagens?|imagenes|immagini?|bild(?:er)?"
    r"|photo\w*|foto\w*|pictures?|illustrations?|tables?|tabellen?|videos?|audio|icons?|logos?"
    r"|cover|graphics?|artwork|charts?|maps?|slides?|data\w*|daten\w*|donnees|dados|datos|dati"
    r"|gegevens|metadata|software|code|program(?:me)?s?|scripts?|models?|abstracts?|summar(?:y|ies)"
    r"|resumes?|resumen(?:es)?|resumos?|riassunt[oi]|zusammenfassung\w*|samenvatting|suppl\w*"
    r"|appendi\w+|annex\w*|additional|translations?|questionnaires?|scales?|reviews?|comments?"
    r"|protocols?|pre-?prints?|manuscripts?|versions?|excerpts?|quotes?|quotations?|sections?"
    r"|chapters? \d\w*|pages? \d\w*|parts?|portions?|some)\b",
    re.IGNORECASE,
)

# How a line begins that names people, publishers or a year, and says nothing about use.
NOTICE = re.compile(
    r"\W*(?:©|\(c\)|copyright\b|published by\b|posted by\b|licensee\b|originally published in\b"
    r"|[12]\d{3}\b)",
    re.IGNORECASE,
)

# What a line that is no such sentence must not speak of.
DOUBT = re.compile(
    r"\b(?:not|no|nor|neither|never|none|non|cannot|without|except\w*|exclu\w+|unless|only|solely"
    r"|rather|instead|restrict\w*|prohibit\w*|forbid\w*|disallow\w*|deni\w+|refus\w+|unlicen[cs]ed"
    r"|reserv\w+|permission|consent|authori[sz]\w+|contact|fees?|charges?|purchas\w*|subscri\w+"
    r"|proprietary|confidential|requests?|requires?|use[ds]?|re-?use\w*|cop(?:y|ies|ying)|reprint\w*"
    r"|reproduc\w*|distribut\w*|permit\w*|allow\w*|shar(?:e|ing)|protect\w*|owners?|rights?|transfer\w*"
    r"|personal|private|educat\w+|academic|study|embargo\w*|formerly|previously|until|after|before"
    r"|will|expire\w*|withdrawn|revoked|terms|conditions|licen[cs](?:es?|ed|ing))\b|n't\b|com+erc"
    r"|kommerz|\b(?:pas|aucune?|sans|sauf|interdi\w+|droits|sin|salvo|excepto|prohibid\w+|derechos"
    r"|nao|sem|exceto|proibid\w+|vedad\w+|direitos|nicht|kein\w*|ohne|ausser|nur|untersagt"
    r"|vorbehalt\w+|rechten?|senza|eccetto|tranne|vietat\w+|diritti|riservati|niet|geen"
    r"|voorbehouden)\b|[^\W\d_\u0000-\u024f\u00aa-\u02ff]",
    re.IGNORECASE,
)
