"""Turn the language names of the sources into ISO 639-1 codes."""

from __future__ import annotations

# Three-letter codes and English names of the languages that medical sources use most.
_CODES = {
    "eng": "en", "fre": "fr", "fra": "fr", "ger": "de", "deu": "de", "spa": "es", "ita": "it",
    "por": "pt", "rus": "ru", "jpn": "ja", "chi": "zh", "zho": "zh", "kor": "ko", "pol": "pl",
    "dut": "nl", "nld": "nl", "swe": "sv", "dan": "da", "nor": "no", "nob": "nb", "nno": "nn",
    "fin": "fi", "cze": "cs", "ces": "cs", "slo": "sk", "slk": "sk", "hun": "hu", "rum": "ro",
    "ron": "ro", "bul": "bg", "ukr": "uk", "gre": "el", "ell": "el", "tur": "tr", "heb": "he",
    "ara": "ar", "per": "fa", "fas": "fa", "hin": "hi", "tha": "th", "vie": "vi", "ind": "id",
    "may": "ms", "msa": "ms", "hrv": "hr", "srp": "sr", "scr": "hr", "scc": "sr", "slv": "sl",
    "lit": "lt", "lav": "lv", "est": "et", "ice": "is", "isl": "is", "cat": "ca", "glg": "gl",
    "baq": "eu", "eus": "eu", "geo": "ka", "kat": "ka", "arm": "hy", "hye": "hy", "aze": "az",
    "uzb": "uz", "kaz": "kk", "afr": "af", "swa": "sw", "amh": "am", "hau": "ha", "yor": "yo",
    "ibo": "ig", "zul": "zu", "xho": "xh", "som": "so", "kin": "rw", "wel": "cy", "cym": "cy",
    "gle": "ga", "lat": "la", "mac": "mk", "mkd": "mk", "alb": "sq", "sqi": "sq", "bos": "bs",
    "english": "en", "spanish": "es", "french": "fr", "portuguese": "pt", "arabic": "ar",
}  # fmt: skip


def language_code(name: str) -> str:
    """Turn a source's language into ISO 639-1.

    Args:
        name: a code (`eng`, `en`, `en-US`) or an English name (`Spanish`).

    Returns:
        Two letters, or `und` where the language is not known.

    Source: https://www.loc.gov/standards/iso639-2/php/code_list.php
    """
    plain = name.strip().lower().replace("_", "-").split("-")[0]
    if len(plain) == 2 and plain.isalpha():
        return plain
    return _CODES.get(plain, "und")
