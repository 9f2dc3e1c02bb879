"""Licence statements in the words of many publishers and languages: what is free, what is not."""

from __future__ import annotations

import polars as pl
import pytest

from elara.collect import collect_folder, sample_folder
from elara.collect.licences import (
    UNKNOWN,
    folder_licence,
    licence_of,
    no_stricter,
    redistributable,
    restricts,
    stated_licence,
    strictest,
    strictness,
)

BY = "http://creativecommons.org/licenses/by/4.0/"
OPEN = "This is an open access article distributed under the terms of the Creative Commons "

FREE = {
    BY: "CC-BY-4.0",
    "https://creativecommons.org/licenses/by-sa/3.0/deed.fr": "CC-BY-SA-3.0",
    "creativecommons.org/licenses/by/3.0/igo/legalcode": "CC-BY-3.0-IGO",
    "https://creativecommons.org/publicdomain/mark/1.0/": "public-domain",
    "cc by": "CC-BY",
    "CC-BY-4.0": "CC-BY-4.0",
    "CC BY–SA 4.0": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
    "Public domain.": "public-domain",
    f"{OPEN}Attribution License, which permits unrestricted use in any medium, provided the "
    "original work is properly cited.": "CC-BY",
    f"{OPEN}Attribution 4.0 International License ({BY}), which permits use for any purpose, even "
    "commercially, provided you indicate if changes were made.": "CC-BY-4.0",
    "© 2022 The Authors. Re-use permitted under CC BY. Published by the Society.": "CC-BY",
    "(c) 2021 by the author; licensee An Institute, Basel. " + OPEN + "Attribution (CC BY) license "
    f"({BY}).": "CC-BY-4.0",
    "Open Access. Licensed under CC BY 4.0, as long as you give credit, link to the licence and "
    "indicate if changes were made. The images or other third party material in this article are "
    "included in the article's Creative Commons licence, unless indicated otherwise in a credit "
    "line to the material. If material is not included in the article's Creative Commons licence "
    "and your intended use is not permitted by statutory regulation or exceeds the permitted use, "
    "you will need to obtain permission directly from the copyright holder.": "CC-BY-4.0",
    f"{BY} The Creative Commons Public Domain Dedication waiver "
    "(http://creativecommons.org/publicdomain/zero/1.0/) applies to the data made available in "
    "this article, unless otherwise stated.": "CC-BY-4.0",
    "Creative Commons Attribution License (CC BY). The use, distribution or reproduction is "
    "permitted, provided the authors are credited, in accordance with accepted academic practice. "
    "No use, distribution or reproduction is permitted which does not comply with these terms."
    : "CC-BY",
    "CC BY 4.0: any use without further permission, provided the work is attributed.": "CC-BY-4.0",
    "All may read and reuse this work without asking prior permission from the publisher or the "
    "author (CC BY 3.0).": "CC-BY-3.0",
    "CC BY 4.0, for both commercial and non-commercial purposes.": "CC-BY-4.0",
    "CC BY 4.0, including commercial use.": "CC-BY-4.0",
    "Commercial use is permitted under the terms of CC BY 4.0.": "CC-BY-4.0",
    "Free of all copyright, it may be used by anyone for any lawful purpose. Made available "
    "under the Creative Commons CC0 public domain dedication.": "CC0-1.0",
    "CC0 1.0 Universal. No rights reserved.": "CC0-1.0",
    "This is a work of the U.S. Government and not subject to copyright.": "public-domain",
    "The text is dedicated to the public domain by its author.": "public-domain",
    "WHO. Creative Commons Attribution IGO License "
    "(http://creativecommons.org/licenses/by/3.0/igo/). There should not be any suggestion that "
    "WHO endorses any product. The use of the WHO logo is not permitted.": "CC-BY-3.0-IGO",
    "Article publié sous la licence Creative Commons Attribution 4.0 International.": "CC-BY-4.0",
    "Mis à disposition selon les termes de la licence Creative Commons Paternité - Partage à "
    "l’identique 3.0 non transposé.": "CC-BY-SA-3.0",
    "Este artículo se publica bajo la licencia Creative Commons Reconocimiento 4.0.": "CC-BY-4.0",
    "Bajo una licencia de Creative Commons Atribución-CompartirIgual 4.0, que permite su uso sin "
    "restricciones.": "CC-BY-SA-4.0",
    "Artigo de acesso aberto sob a licença Creative Commons Attribution, que permite uso em "
    "qualquer meio, sem restrições, desde que o trabalho seja citado.": "CC-BY",
    "Licença Creative Commons Atribuição 4.0 Internacional.": "CC-BY-4.0",
    "Dieser Artikel steht unter der Lizenz Creative Commons Namensnennung 4.0 International.":
    "CC-BY-4.0",
    "Creative Commons Namensnennung - Weitergabe unter gleichen Bedingungen 3.0 Deutschland":
    "CC-BY-SA-3.0",
    "Dieses Werk ist gemeinfrei.": "public-domain",
    "Distribuito con licenza Creative Commons Attribuzione 4.0, anche per scopi commerciali.":
    "CC-BY-4.0",
    "Deze tekst valt onder de licentie Creative Commons Naamsvermelding 4.0.": "CC-BY-4.0",
    "Cette œuvre est dans le domaine public.": "public-domain",
}  # fmt: skip

UNREAD = "unknown"
NOT_FREE = {
    # Another licence, in English and elsewhere.
    "https://creativecommons.org/licenses/by-nc/4.0/": "CC-BY-NC-4.0",
    "https://creativecommons.org/licenses/by-nd-nc/1.0": "CC-BY-NC-ND-1.0",
    "https://creativecommons.org/licenses/by%2Dnc/4.0/": "CC-BY-NC-4.0",
    "https://creativecommons.org/licenses/sampling+/1.0/": UNREAD,
    "CC BY–NC–ND": "CC-BY-NC-ND",
    "CC-BY_NC": "CC-BY-NC",
    "CC BY (NC)": "CC-BY-NC",
    "CC BY NonCommercial 4.0": "CC-BY-NC-4.0",
    "Creative Commons Attribution‐NonCommercial‐NoDerivs License": "CC-BY-NC-ND",
    "Creative Commons Attribution, Non Commercial and No Derivatives 4.0": "CC-BY-NC-ND-4.0",
    "Creative Commons licence (Attribution–Noncommercial–Share Alike 4.0)": "CC-BY-NC-SA-4.0",
    "licence Creative Commons Attribution - Pas d’Utilisation Commerciale 4.0": "CC-BY-NC-4.0",
    "Creative Commons Paternité-Pas de Modification 3.0": "CC-BY-ND-3.0",
    "Creative Commons Attribution – Utilisation non commerciale – Pas de travaux dérivés":
    "CC-BY-NC-ND",
    "licencia Creative Commons Reconocimiento-NoComercial-SinDerivadas 4.0": "CC-BY-NC-ND-4.0",
    "Creative Commons Atribución - Uso no comercial - Sin obra derivada": "CC-BY-NC-ND",
    "Licença Creative Commons Atribuição-NãoComercial-SemDerivações 4.0": "CC-BY-NC-ND-4.0",
    "Creative Commons Namensnennung – Nicht-kommerziell – Keine Bearbeitungen 4.0":
    "CC-BY-NC-ND-4.0",
    "Creative Commons Attribuzione - Non commerciale - Non opere derivate 4.0": "CC-BY-NC-ND-4.0",
    "Creative Commons Naamsvermelding-NietCommercieel 4.0": "CC-BY-NC-4.0",
    "CC BY 4.0 or CC BY-NC 4.0, as the authors chose": "CC-BY-NC-4.0",
    f"{BY} https://creativecommons.org/licenses/by-nd/4.0/": "CC-BY-ND-4.0",
    # A free name with a limit beside it.
    "Creative Commons Attribution License, which permits non-commercial sharing.": UNREAD,
    "CC BY. Commercial use needs a licence fee.": UNREAD,
    "CC BY 4.0, excluding commercial reuse.": UNREAD,
    "CC BY. No derivatives.": UNREAD,
    "CC BY 4.0, provided that the text stays unaltered.": UNREAD,
    "creativecommons.org/licenses/by/4.0 non commercial": UNREAD,
    "creativecommons.org/licenses/by/4.0/ nc": UNREAD,
    "CC BY for private study.": UNREAD,
    "Creative Commons Attribution, personal use only": UNREAD,
    "For educational purposes under CC BY 3.0": UNREAD,
    "CC BY 4.0 (non\u00adcommercial)": UNREAD,
    "Open access under CC BY 4.0. All rights reserved.": UNREAD,
    "Licence Creative Commons Attribution; usage commercial interdit": UNREAD,
    "Creative Commons Reconocimiento 4.0. Se prohíbe su uso con fines comerciales.": UNREAD,
    "CC BY 4.0, außer für gewerbliche Zwecke": UNREAD,
    "CC BY 4.0, sauf mention contraire": UNREAD,
    "CC BY 4.0 — 仅限非商业用途": UNREAD,
    # Denied, doubted, conditional.
    "Not licensed under CC BY 4.0.": UNREAD,
    "This journal isn't under a Creative Commons Attribution licence.": UNREAD,
    "Unlike other issues, which are CC BY, it may be read here.": UNREAD,
    "This work is not in the public domain.": UNREAD,
    "Neither CC0 nor public domain": UNREAD,
    "N'est pas dans le domaine public.": UNREAD,
    "Dieser Text ist nicht gemeinfrei.": UNREAD,
    "Ce texte n'est pas sous licence CC BY 4.0": UNREAD,
    "Este texto no está bajo CC BY": UNREAD,
    "Similar to CC BY in its terms.": UNREAD,
    "If accepted, the paper appears under CC BY 4.0.": UNREAD,
    "Is this CC BY?": UNREAD,
    # Another time, another work, a part.
    "Formerly CC BY 4.0; now with the publisher.": UNREAD,
    "Becomes CC BY 4.0 when the embargo of twelve months ends.": UNREAD,
    "From 2030 on this text will be CC BY.": UNREAD,
    "It was released under CC BY until 2019.": UNREAD,
    "Public domain after the author's death plus 70 years": UNREAD,
    "Only the abstract is CC BY.": UNREAD,
    "The figures are available under CC BY 4.0.": UNREAD,
    "The data are in the public domain.": UNREAD,
    "CC BY 4.0, except where otherwise noted.": UNREAD,
    "CC BY 4.0; images are excluded.": UNREAD,
    "Unless stated otherwise all rights reserved; parts are CC BY.": UNREAD,
    # Nothing that is known.
    "© 2020 The Publisher. All rights reserved.": UNREAD,
    "Published under a Creative Commons licence.": UNREAD,
    "Open access.": UNREAD,
    "under exclusive licence to A Society": UNREAD,
    "accredited by CCBB": UNREAD,
}  # fmt: skip


# A free licence that is somebody else's, may come one day, or is for a part of the text.
OTHERS = """
The source code is licensed under CC BY 4.0
Code available under CC BY
The bibliographic information is dedicated to the public domain under CC0
© 2021 Elsevier, abstract under CC BY 4.0
© 2020 Elsevier - Figure 1 CC BY 4.0
Copyright of images: CC BY 4.0
Copyright: data CC0
2020 supplementary material CC BY 4.0
Copyright 2020 Elsevier (data: CC BY 4.0)
Copyright-free images, CC0
© 2021 Verlag, Abbildungen CC BY 4.0
© 2021 Editorial, imágenes bajo CC BY
This article may be available under CC BY
Your article can be published under CC BY
You may share the link under CC BY
Author grants the government a CC BY licence
The preprint is available under a CC BY 4.0 licence
The open access version of this article is available under CC BY
The author's version is licensed under CC BY
The online version is available under CC BY
Authors may use CC BY
The author can grant a CC BY 4.0 licence
CC BY: see here
Author manuscript version, CC BY
This is an adaptation of an article published under CC BY
Reproduced from an article under CC BY
This article cites works under CC BY
Materials identified as CC BY may be shared
Content with this mark is CC BY
Open access content is licensed under CC BY
Works by employees of the US government are in the public domain
All content © Publisher. User content: CC BY-SA
More information on CC BY
CC BY until 2020, then all rights reserved
CC BY for the abstract only
CC BY 4.0, kommerzielle Nutzung nicht gestattet
CC BY 4.0 Niekomercyjne
知识共享 署名-非商业性使用 CC BY 4.0
""".strip().splitlines()


@pytest.mark.parametrize("statement", OTHERS)
def test_a_free_licence_of_something_else_frees_no_text(statement: str) -> None:
    assert licence_of(statement) == UNKNOWN


@pytest.mark.parametrize(("statement", "licence"), {**FREE, **NOT_FREE}.items())
def test_a_statement_is_read_with_the_words_around_the_name(statement: str, licence: str) -> None:
    assert licence_of(statement) == licence
    assert redistributable(licence) is (statement in FREE)


def test_there_are_enough_statements_of_both_kinds() -> None:
    assert len(FREE) >= 25
    assert len(NOT_FREE) >= 40
    assert len(FREE) + len(NOT_FREE) >= 80


def test_words_that_only_readers_of_real_licences_meet() -> None:
    """Orders of innocent words that mean another text, and names in other languages."""
    for statement in (
        "The original article is CC BY", "Cited work: CC BY", "Metadata: CC0", "CC BY modified",
        "Available under CC BY from 2031", "The other version is CC BY", "CC BY* ", "CC-BY-like",
        "Photo by Jane Doe / CC BY 4.0", "CC BY - Gayriticari", "CC BY; draft: do not cite",
        "CC BY 4.0 + Commons Clause", "sous licence CC BY à des fins de recherche",
        "Copyright transferred to the Publisher. CC BY", "CC BY, sem fins lucrativos",
        "CC BY 4.0 ohne Gewinnerzielungsabsicht", "The website is CC BY; articles © their owners",
    ):  # fmt: skip
        assert licence_of(statement) == "unknown", statement


def test_the_text_of_a_licence_is_known_by_its_title() -> None:
    code = (
        "{} 4.0 International\n\nCreative Commons Corporation is not a law firm. You may not apply "
        "measures that restrict others, unless the terms of commercial use forbid none of it."
    )
    assert stated_licence(code.format("Attribution")) == "CC-BY-4.0"
    assert stated_licence(code.format("Attribution-NonCommercial")) == "CC-BY-NC-4.0"


def test_several_statements_are_read_as_one() -> None:
    assert strictest([BY, "Commercial use is not permitted."]) == "unknown"
    assert strictest([BY, "© 2020 The Publisher. All rights reserved."]) == "unknown"
    assert strictest([BY, "© 2020 Ada Moyo et al."]) == "CC-BY-4.0"
    assert stated_licence("CC BY 4.0\nprivate") == "unknown"
    assert (stated_licence("private"), stated_licence("Public-Domain.")) == (
        "private", "public-domain",
    )  # fmt: skip
    with pytest.raises(ValueError, match="names no licence that Elara knows"):
        folder_licence("CC BY 4.0, except the images")


def test_a_line_of_copyright_may_keep_all_rights() -> None:
    assert restricts("© 2020 The Publisher. All rights reserved.")
    assert restricts("Tous droits réservés.")
    assert not restricts("© 2020. The Author(s).")


def test_silence_is_stricter_than_any_licence_and_private_the_strictest() -> None:
    order = ["public-domain", "CC0-1.0", "CC-BY", "CC-BY-SA-4.0", "CC-BY-NC-ND-4.0", "unknown"]
    assert sorted([*order, "private"], key=strictness) == [*order, "private"]
    assert no_stricter("CC-BY-4.0", "CC-BY-NC-4.0")
    assert not no_stricter("CC-BY-NC-4.0", "CC-BY-ND-4.0")
    assert not no_stricter("unknown", "CC-BY-NC-ND-4.0")
    assert not no_stricter("private", "unknown")


def test_the_licences_of_the_sample_are_read() -> None:
    articles = collect_folder(sample_folder()).articles.collect()
    counted = dict(articles.group_by("source").agg(pl.col("redistributable").sum()).iter_rows())
    assert counted["pubmed"] >= 100
    unknown = articles.filter(pl.col("licence") == "unknown", source="pmc")
    assert unknown.is_empty()


@pytest.mark.parametrize(
    ("line", "article", "folder"),
    [
        ("These notes are licensed under CC BY 4.0.", "CC-BY-4.0", "CC-BY-4.0"),
        ("This guideline is published under CC BY-SA 4.0", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        # In an article, data and files are something else than the article.
        ("Dataset: CC BY 4.0", "unknown", "CC-BY-4.0"),
        ("All files in this folder: CC-BY-4.0", "unknown", "CC-BY-4.0"),
        ("The data are available under CC BY 4.0", "unknown", "unknown"),
        ("The files in this folder are not under CC BY 4.0", "unknown", "unknown"),
    ],
)
def test_a_folder_s_line_speaks_of_its_files(line: str, article: str, folder: str) -> None:
    assert (licence_of(line), stated_licence(line)) == (article, folder)
