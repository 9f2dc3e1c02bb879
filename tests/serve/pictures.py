"""Pictures as files and as data URLs."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image


def image(colour: str = "red", size: tuple[int, int] = (20, 12)) -> Image.Image:
    """A picture, half in this colour and half in black."""
    made = Image.new("RGB", size, "black")
    made.paste(colour, (0, 0, size[0] // 2, size[1]))
    return made


def saved(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The file of a picture."""
    made = io.BytesIO()
    picture.save(made, form, **options)
    return made.getvalue()


def url(data: bytes | None = None, kind: str = "png") -> str:
    """The data URL of a file; of a red picture, if there is none."""
    data = saved(image()) if data is None else data
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def turn(*urls: str, text: str = "What is this?") -> dict[str, Any]:
    """A user's message with a text, and pictures after it, as clients send it."""
    shown = [{"type": "image_url", "image_url": {"url": one}} for one in urls]
    return {"role": "user", "content": [{"type": "text", "text": text}, *shown]}
