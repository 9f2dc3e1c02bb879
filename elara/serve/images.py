"""Read a picture out of a request: what is kept are its pixels, encoded anew, and nothing else.

A picture comes as a data URL; nothing is ever fetched. Its size is read from its header before any
of it is decoded. Whatever lies beside the pixels (where and when it was taken, comments, colour
profiles, thumbnails, further frames, other files behind its end) is not carried over. What is
written in the pixels themselves is, and nobody here can see it: `BURNT_IN` says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

MOST = 4  # pictures of a conversation
BURNT_IN = (
    "Names or dates may be burnt into a picture, as on scans, labels and screenshots. Elara cannot "
    "see them, and removes only what is stored beside the pixels: look at each picture yourself "
    "before you send it."
)
FIRST_FRAME = "A picture with several frames was sent: only the first of them was read."

_KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.IGNORECASE)
_HEAD = 256  # bytes that show what a file is
# Two bytes that begin a pass over a JPEG's pixels. Photographs have up to about 20; a file of
# 4 MiB has room for 100,000, each of which takes the time of the whole picture.
_PASS, _MOST_PASSES = b"\xff\xda", 500
# What models make of one picture: the most that is known for a small one, and for each 28 x 28
# pixels of a large one. It is set aside, and settled by what was really read.
_TOKENS, _PIXELS_PER_TOKEN = 3000, 28 * 28


class ImageRefused(ValueError):
    """A picture cannot be read; the message says why and what to send, and quotes nothing."""


@dataclass(frozen=True)
class Picture:
    """Pixels, and nothing that came with them.

    Args:
        png: as a PNG file in RGB.
        sha256: of size and pixels, so that the same picture has it in every file.
        size: width and height, in pixels.
        frames: how many the file had; this is the first.
    """

    png: bytes
    sha256: str
    size: tuple[int, int]
    frames: int = 1

    @property
    def most_tokens(self) -> int:
        """Tokens that a model may make of it, at the most that is known."""
        width, height = self.size
        return _TOKENS + width * height // _PIXELS_PER_TOKEN

    def as_image(self) -> Image.Image:
        """For the processor of a model here."""
        from PIL import Image

        return Image.open(io.BytesIO(self.png))

    def as_url(self) -> str:
        """For a server elsewhere."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


Pictures = Mapping[int, Sequence[Picture]]  # by number of the turn


def read_picture(url: str, *, max_bytes: int, max_pixels: int) -> Picture:
    """The picture in a data URL. This takes a while: call it in a thread.

    Args:
        url: `data:image/png;base64,…`, of a PNG, JPEG or WebP file.
        max_bytes: longest file.
        max_pixels: largest picture; width times height.

    Raises:
        ImageRefused: it is something else, too large, or damaged.

    Source: https://www.rfc-editor.org/rfc/rfc2397 and
        https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.open
    """
    declared, data = _file_in(url, max_bytes)
    kind = _kind_of(data[:_HEAD])
    if _KINDS[declared] != kind:
        raise ImageRefused(f"it is declared as {declared}, but is a {kind} file: declare it so")
    if kind == "JPEG" and data.count(_PASS) > _MOST_PASSES:
        raise ImageRefused("it is drawn in too many passes: save it as an ordinary file")
    return _pixels_of(data, kind, max_pixels)


def with_pictures(
    messages: Sequence[dict[str, str]], pictures: Pictures, form: Callable[[Picture], Any]
) -> list[dict[str, Any]]:
    """The conversation with each turn's pictures before its text, as content parts.

    Args:
        messages: turns with `role` and `content`.
        pictures: those of each turn that has some.
        form: how a picture is written down.
    """
    turns: list[dict[str, Any]] = [*messages]
    for number, shown in pictures.items():
        text = {"type": "text", "text": turns[number]["content"]}
        turns[number] = turns[number] | {"content": [*map(form, shown), text]}
    return turns


def warnings(pictures: Pictures) -> list[str]:
    """What to tell whoever sent these pictures; nothing where there is none.

    Args:
        pictures: those of each turn that has some.
    """
    frames = [picture.frames for some in pictures.values() for picture in some]
    return [BURNT_IN] * bool(frames) + [FIRST_FRAME] * (max(frames, default=1) > 1)


def _file_in(url: str, max_bytes: int) -> tuple[str, bytes]:
    """What a data URL says that it holds, and what it holds."""
    head = _URL.match(url, 0, 200)
    if not head:
        raise ImageRefused(
            "send the picture itself, as data:image/png;base64,… (or jpeg, webp): this server "
            "fetches nothing from any address"
        )
    declared = head[1].lower()
    if "dicom" in declared:
        raise _dicom()
    if declared not in _KINDS:
        raise ImageRefused("only image/png, image/jpeg and image/webp are read: convert it")
    if (len(url) - head.end()) * 3 // 4 > max_bytes + 2:
        raise ImageRefused(f"it has more than {max_bytes} bytes: make it smaller")
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ImageRefused("what follows `base64,` is not base64") from None
    if len(data) > max_bytes:
        raise ImageRefused(f"it has more than {max_bytes} bytes: make it smaller")
    return declared, data


def _kind_of(head: bytes) -> str:
    """What a file is, whatever it is declared as."""
    if head[128:132] == b"DICM":
        raise _dicom()
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if b"<svg" in head.lower() or head.lstrip().startswith(b"<?xml"):
        raise ImageRefused("it is an SVG or other XML file, which can hold programs: send a PNG")
    raise ImageRefused("it is no PNG, JPEG or WebP file: convert it")


def _dicom() -> ImageRefused:
    return ImageRefused(
        "it is a DICOM file, which holds the patient's data: DICOM is never read here. Export a "
        "PNG of the picture alone, and see that no name is written in it"
    )


def _pixels_of(data: bytes, kind: str, max_pixels: int) -> Picture:
    from PIL import Image, ImageOps

    try:
        if kind == "WEBP":  # whose reader sets memory aside as soon as it opens a file
            _check(_size_of_webp(data), max_pixels)
        with Image.open(io.BytesIO(data), formats=[kind]) as opened:
            _check(opened.size, max_pixels)
            frames = getattr(opened, "n_frames", 1)
            opened.seek(0)
            opened.load()
            pixels = _rgb(ImageOps.exif_transpose(opened))
    except ImageRefused:
        raise
    except Exception as error:  # Pillow raises almost anything, and may quote the file
        large = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
        why = "too large" if large else "damaged"
        raise ImageRefused(f"the {kind} file is {why}: save it anew and send that") from None
    made = io.BytesIO()
    # A new picture of the bare pixels: what Pillow knows of the old one would be written, too.
    bare = Image.frombytes("RGB", pixels.size, pixels.tobytes())
    bare.save(made, "PNG", compress_level=1)
    name = hashlib.sha256(struct.pack(">2I", *bare.size) + bare.tobytes()).hexdigest()
    return Picture(made.getvalue(), name, bare.size, frames)


def _check(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageRefused(f"it has {width} x {height} pixels, at most {max_pixels} are read")
    if not width or not height:
        raise ImageRefused("it is damaged: it has no pixels")


def _size_of_webp(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk of a WebP file; further ones lie within them.

    Source: https://www.rfc-editor.org/rfc/rfc9649#name-extended-file-format
    """
    kind = data[12:16]
    if kind == b"VP8X":
        wide, high = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        wide, high = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        wide, high = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return wide, high


def _rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB: transparent parts white, 16-bit greys by their upper 8 bits."""
    from PIL import Image

    if image.mode.startswith("I"):
        # Pillow would cut off what is above 255, and leave a radiograph white.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
