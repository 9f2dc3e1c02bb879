r"""Turn names of files into text that every table, manifest and log can hold, and back.

A file system takes any bytes for a name and an archive any name at all, while text is Unicode and
a line of a log ends where a line ends. So a name is shown with escapes: a byte that is not UTF-8
as `\xe9`, a line break as `\n`. A backslash is doubled, so that no two names look the same and the
name can be had back.
"""

from __future__ import annotations

import os
import re

# Controls, line and paragraph separators, marks that turn the direction of text, and surrogates,
# as which Python carries bytes that it cannot decode (PEP 383).
_UNSAFE = re.compile("[\\\\\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(\\|n|r|t|x[0-9a-f]{2}|u[0-9a-f]{4})")
_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {short[1]: sign for sign, short in _SHORT.items()}


def escaped(name: str) -> str:
    """A name with escapes for what is not text.

    Args:
        name: as Python gives it; undecodable bytes as surrogates.
    """
    return _UNSAFE.sub(lambda found: _escape(found[0]), name)


def escaped_path(path: str) -> str:
    """The same for a path of this system, whatever encoding its locale is set to.

    Args:
        path: with `/` between its parts.
    """
    return escaped(os.fsencode(path).decode("utf-8", "surrogateescape"))


def unescaped_path(text: str) -> str:
    """The path that `escaped_path` made a text of.

    Args:
        text: as tables hold it.
    """
    name = _ESCAPE.sub(lambda found: _unescape(found[1]), text)
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def _escape(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # From 0x80 on `\x` stands for bytes, and characters take the longer form.
    return _SHORT.get(sign) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")


def _unescape(escape: str) -> str:
    if escape in _LONG:
        return _LONG[escape]
    code = int(escape[1:], 16)
    return chr(0xDC00 + code if escape[0] == "x" and code >= 0x80 else code)
