"""Parts of stored files, and files that the client already has."""

from __future__ import annotations

import hashlib
import re
from email.message import Message

from elara.mirror.messages import Answer

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MODIFIED = "Thu, 29 Jan 2026 14:01:00 GMT"


def part_of(answer: Answer, headers: Message) -> Answer:
    """Reduce an answer to what the client asks for.

    Args:
        answer: with the whole file.
        headers: of the request.

    Returns:
        206 with the range asked for, 416 for one outside the file, 304 where the client has the
        file, or else all of it.

    Source: RFC 9110, sections 13 and 14, https://www.rfc-editor.org/rfc/rfc9110
    """
    body = answer.body
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    answer.headers |= {"Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": _MODIFIED}
    if headers.get("If-None-Match") == tag:
        answer.status, answer.body = 304, b""
        return answer
    asked = _RANGE.fullmatch(headers.get("Range", ""))
    current = headers.get("If-Range", tag) in (tag, _MODIFIED)
    if not asked or not any(asked.groups()) or not current:
        return answer
    if asked[1]:
        start, end = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
    else:  # so many bytes from the end
        start, end = max(0, len(body) - int(asked[2])), len(body) - 1
    if start > end:
        answer.status, answer.body = 416, b""
        answer.headers["Content-Range"] = f"bytes */{len(body)}"
        return answer
    answer.status, answer.body = 206, body[start : end + 1]
    answer.headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
    return answer
