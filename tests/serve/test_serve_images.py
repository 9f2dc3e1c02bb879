"""Pictures: only pixels get in, whatever a file claims or hides; and who may be shown them."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import logging
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_upstream import fake as fake_upstream
from local_client import LocalClient
from pictures import image, saved, turn, url
from PIL import Image, PngImagePlugin
from test_serve_contract import wait_until_loaded
from test_serve_conversing import records
from test_serve_upstream import run, said, started

from elara.serve import ModelManager, Settings, create_app
from elara.serve.backends import Ask, ModelUnavailable
from elara.serve.config import PICTURES_AT
from elara.serve.images import BURNT_IN, FIRST_FRAME, ImageRefused, Picture, read_picture
from elara.serve.keys import KeyFile
from elara.serve.openai_forms import CompletionRequest
from elara.workspace import Workspace

SECRET = b"Jane Q. Patient"


def read(data: bytes, kind: str = "png", **limits: int) -> Picture:
    return read_picture(
        url(data, kind), **({"max_bytes": 1 << 22, "max_pixels": 4_000_000} | limits)
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that says that it is so large, and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b""))


def told() -> dict[str, Any]:
    """Options that hide a name in every place that a file has beside its pixels."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # its description
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return {"exif": exif, "pnginfo": text, "icc_profile": SECRET, "xmp": SECRET, "comment": SECRET}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_only_the_pixels_are_kept(form: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("notes.txt", SECRET)
    data = saved(image(), form, **told()) + archive.getvalue()
    assert data.count(SECRET) > 2
    kept = read(data, form.lower())
    assert kept.png.endswith(chunk(b"IEND", b""))
    kinds, at = [], 8
    while at < len(kept.png):
        (length,) = struct.unpack_from(">I", kept.png, at)
        kinds.append(kept.png[at + 4 : at + 8])
        at += 12 + length
    assert {*kinds} == {b"IHDR", b"IDAT", b"IEND"}
    assert not zipfile.is_zipfile(io.BytesIO(kept.png))
    plain = read(saved(image(), form), form.lower())
    assert (kept.sha256, kept.size) == (plain.sha256, plain.size)
    if form == "PNG":
        assert kept.as_image().tobytes() == image().tobytes()


def test_a_picture_that_lies_on_its_side_is_put_upright_first() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it to the right
    kept = read(saved(image(size=(20, 12)), "PNG", exif=exif))
    assert kept.size == (12, 20)
    assert kept.as_image().tobytes() == image(size=(20, 12)).rotate(-90, expand=True).tobytes()


def test_the_hash_is_that_of_the_picture_and_not_of_the_file() -> None:
    one, packed = saved(image()), saved(image(), compress_level=0)
    assert one != packed
    assert read(one).sha256 == read(packed).sha256
    others = [image("blue"), image(size=(12, 20))]
    assert len({read(one).sha256, *(read(saved(other)).sha256 for other in others)}) == 3


def grey(mode: str, value: int) -> bytes:
    return saved(Image.new(mode, (3, 2), value))


def palette() -> bytes:
    made = Image.new("P", (2, 1))
    made.putpalette([255, 0, 0, 0, 0, 255])
    made.putpixel((1, 0), 1)
    return saved(made, transparency=0)


@pytest.mark.parametrize(
    ("data", "kind", "first"),
    [
        (saved(image(size=(1, 1))), "png", (0, 0, 0)),
        (saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "jpeg", (255, 0, 0)),
        (grey("I;16", 32768), "png", (128, 128, 128)),
        (grey("L", 200), "png", (200, 200, 200)),
        (grey("1", 1), "png", (255, 255, 255)),
        (palette(), "png", (255, 255, 255)),
        (saved(Image.new("RGBA", (2, 2), (255, 0, 0, 0))), "png", (255, 255, 255)),
        (saved(Image.new("LA", (2, 2), (0, 255))), "png", (0, 0, 0)),
    ],
    ids=["one pixel", "CMYK", "16 bits", "grey", "1 bit", "palette", "transparent", "grey+alpha"],
)
def test_every_kind_of_pixels_becomes_what_a_person_sees(
    data: bytes, kind: str, first: tuple[int, int, int]
) -> None:
    assert read(data, kind).as_image().getpixel((0, 0)) == first


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animated_picture_the_first_frame_is_read_and_said_to_be(form: str) -> None:
    frames = [image("blue"), image("green")]
    data = saved(image(), form, save_all=True, append_images=frames, lossless=True)
    kept = read(data, form.lower())
    assert kept.frames == 3
    assert kept.sha256 == read(saved(image())).sha256


BOMB = png_of_size(60_000, 60_000)
WEBP = saved(image(), "WEBP")
VP8X = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2
VP8L = saved(image(), "WEBP", lossless=True)[:21] + b"\xff\xff\xff\x0f" + b"\0" * 9
VP8 = WEBP[:26] + b"\xff\x3f\xff\x3f" + WEBP[30:]
PASSES = saved(image(), "JPEG", progressive=True)
PASSES = PASSES[:-2] + PASSES[PASSES.rindex(b"\xff\xda") : -2] * 500 + PASSES[-2:]


def test_passes_are_counted_only_where_there_are_some() -> None:
    sent = url(saved(image()) + b"\xff\xda" * 501)
    assert read_picture(sent, max_bytes=1 << 22, max_pixels=4_000_000).size == image().size


REFUSED = [
    ("https://example.org/a.png", "fetches nothing"),
    ("file:///etc/passwd", "fetches nothing"),
    ("data:image/png,abc", "fetches nothing"),
    ("data:;base64,AAAA", "fetches nothing"),
    ("data:application/dicom;base64,AAAA", "DICOM"),
    (url(b"\0" * 128 + b"DICM" + b"\0" * 99), "DICOM"),
    ("data:image/svg+xml;base64,AAAA", "only image/png"),
    (url(b"<?xml version='1.0'?><svg onload='x()'/>"), "SVG"),
    ("data:image/gif;base64,AAAA", "only image/png"),
    (url(saved(image(), "GIF")), "no PNG, JPEG or WebP"),
    (url(saved(image(), "TIFF")), "no PNG, JPEG or WebP"),
    (url(saved(image(), "JPEG")), "declared as image/png, but is a JPEG"),
    ("data:image/png;base64,AAA*", "not base64"),
    ("data:image/png;base64,äöü", "not base64"),
    (url(b""), "no PNG, JPEG or WebP"),
    (url(saved(image())[:60]), "damaged"),
    (url(saved(image(size=(400, 400)), "JPEG")[:-900], "jpeg"), "damaged"),
    (url(WEBP[:40], "webp"), "damaged"),
    (url(b"RIFF\0\0\0\0WEBP", "webp"), "damaged"),
    (url(BOMB), "too large|pixels"),
    (url(png_of_size(2**31 - 1, 2**31 - 1)), "too large|pixels"),
    (url(png_of_size(2001, 2000)), "2001 x 2000 pixels"),
    (url(VP8X, "webp"), "16384 x 16384 pixels"),
    (url(VP8L, "webp"), "16384 x 16384 pixels"),
    (url(VP8, "webp"), "16383 x 16383 pixels"),
    (url(PASSES, "jpeg"), "too many passes"),
    (url(saved(image()) + b"\0" * (1 << 22)), "more than 4194304 bytes"),
]


@pytest.mark.parametrize(("sent", "why"), REFUSED, ids=[sent[:25] for sent, _ in REFUSED])
def test_what_is_refused_is_told_why_and_never_quoted(sent: str, why: str) -> None:
    with pytest.raises(ImageRefused, match=why) as caught:
        read_picture(sent, max_bytes=1 << 22, max_pixels=4_000_000)
    assert "example.org" not in str(caught.value)
    assert "passwd" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(AssertionError, match="decoded"):
        Image.open(io.BytesIO(saved(image()))).load()
    for data, kind in ((png_of_size(2001, 2000), "png"), (BOMB, "png"), (VP8X, "webp")):
        with pytest.raises(ImageRefused, match=r"too large|pixels"):
            read(data, kind)


def test_a_text_that_unpacks_to_much_is_refused() -> None:
    packed = zlib.compress(b"\0" * 50_000_000)
    data = saved(image())
    hidden = chunk(b"zTXt", b"Comment\0\0" + packed)
    with pytest.raises(ImageRefused, match="damaged"):
        read(data[:33] + hidden + data[33:])


# Over HTTP


Make = Callable[..., LocalClient]


@pytest.fixture
def serve(trained: Workspace, fake: Any) -> Iterator[Make]:
    """A server whose fake model reads pictures, or only text."""
    running = []

    def make(reads: bool = True, **given: Any) -> LocalClient:
        settings = Settings.from_environment({}, workspace=str(trained.root), **given)
        processor = object() if reads else None
        manager = ModelManager(
            settings.adapter,
            loader=lambda place: dataclasses.replace(fake.load(place), processor=processor),
            decoder=fake.decoder,
        )
        client = LocalClient(create_app(settings, manager=manager))
        running.append(client.__enter__())
        wait_until_loaded(client)
        return client

    yield make
    for client in running:
        client.__exit__(None, None, None)


def asked(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "elara", "messages": [*turns], **more}


def test_a_question_with_a_picture_is_answered_and_always_warned_of(
    serve: Make, trained: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve(images=True)
    sent = [url(), url(saved(image("blue"))), url()]
    answers = [client.post(PICTURES_AT, json=asked(turn(one))) for one in sent]
    assert [answer.status_code for answer in answers] == [200] * 3, answers[0].text
    for answer in answers:
        about = answer.json()["elara"]
        assert about["warnings"] == [BURNT_IN]
        assert about["receipt"] == ""  # feedback is text
    metrics = client.get("/metrics").text
    assert 'elara_pictures_total{result="read"} 3.0' in metrics
    # The second picture is another question, the third is the first one again.
    assert 'elara_cache_total{result="miss"} 2.0' in metrics
    assert 'elara_cache_total{result="hit"} 1.0' in metrics
    hashes = [record["text_hmac"] for record in records(trained) if record["kind"] == "accepted"]
    assert hashes[0] == hashes[2] != hashes[1]
    without = client.post(PICTURES_AT, json=asked({"role": "user", "content": "What is this?"}))
    assert without.json()["elara"]["warnings"] == []
    assert records(trained)[-1]["kind"] == "ended"
    assert records(trained)[-2]["text_hmac"] not in hashes
    kept = json.dumps(records(trained)) + caplog.text
    assert sent[0][30:60] not in kept
    files = [p.read_bytes() for p in trained.root.rglob("*") if p.is_file()]
    assert not any(b"\x89PNG" in data or sent[0][30:60].encode() in data for data in files)


def test_a_stream_carries_the_warning_too(serve: Make) -> None:
    frames = saved(image(), save_all=True, append_images=[image("blue")])
    response = serve(images=True).post(PICTURES_AT, json=asked(turn(url(frames)), stream=True))
    first = json.loads(response.text.split("\n\n")[0].removeprefix("data: "))
    assert first["elara"]["warnings"] == [BURNT_IN, FIRST_FRAME]


def test_a_text_in_parts_is_a_text(serve: Make) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "anaemia?"}]
    client = serve(reads=False)
    found = client.post(PICTURES_AT, json=asked({"role": "user", "content": parts}))
    plain = client.post(PICTURES_AT, json=asked({"role": "user", "content": "What is\nanaemia?"}))
    answers = [answer.json()["choices"][0]["message"]["content"] for answer in (found, plain)]
    assert answers[0] == answers[1]
    assert answers[0].startswith("What is\nanaemia?")


def test_who_reads_no_pictures_says_so_and_what_to_do(serve: Make, trained: Workspace) -> None:
    off = serve(reads=True).post(PICTURES_AT, json=asked(turn(url())))
    assert off.status_code == 422
    assert "ELARA_SERVE_IMAGES=yes" in off.json()["detail"]
    assert records(trained) == []
    client = serve(reads=False, images=True)
    for stream in (False, True):
        refused = client.post(PICTURES_AT, json=asked(turn(url()), stream=stream))
        assert refused.status_code == 422
        assert "reads text only" in refused.json()["detail"]
        assert "images=true" in refused.json()["detail"]
    assert [r["outcome"] for r in records(trained) if r["kind"] == "ended"] == ["refused"] * 2


def test_a_simulation_reads_none(tmp_path: Any) -> None:
    with LocalClient(create_app(Settings(images=True))) as client:
        refused = client.post(PICTURES_AT, json=asked(turn(url())))
    assert refused.status_code == 422
    assert "reads text only" in refused.json()["detail"]


USER: dict[str, Any] = turn(url())
ASSISTANT = {"role": "assistant", "content": "A square."}
BETWEEN = turn(url())
BETWEEN["content"] += [{"type": "text", "text": "and this?"}, *turn(url())["content"][1:]]


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([turn("http://127.0.0.1:1/a.png")], "messages.0.content: a picture .* fetches nothing"),
        ([USER, ASSISTANT, turn("data:image/png;base64,AAAA")], "messages.2.content: a picture"),
        ([turn(*[url()] * 3), ASSISTANT, turn(*[url()] * 2)], "more than 4 pictures"),
        ([BETWEEN], "messages.0: text stands between two pictures"),
        ([turn(url(), text=" ")], "messages.0: the message is empty"),
        ([USER, turn(url()) | {"role": "assistant"}, USER], "only a user shows pictures"),
        ([{"role": "user", "content": []}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "file"}]}], "messages.0.content"),
        ([{"role": "user", "content": 7}], "messages.0.content"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(
    serve: Make, turns: list[dict[str, Any]], why: str
) -> None:
    refused = serve(images=True).post(PICTURES_AT, json=asked(*turns))
    assert refused.status_code == 422
    assert re.search(why, refused.json()["detail"]), refused.json()["detail"]
    assert "127.0.0.1" not in refused.text


def test_the_guide_shows_a_request_that_is_understood(project: Path) -> None:
    page = (project / "book" / "serving.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```text\n(.+?)^```$", page, re.M | re.S)
    (only,) = CompletionRequest.model_validate_json(text).messages
    assert len(only.pictures) == 1
    assert only.text.endswith("?")


def test_chat_takes_text_only(serve: Make) -> None:
    assert serve(images=True).post("/chat", json={"messages": [USER]}).status_code == 422


def test_only_where_pictures_come_a_request_may_be_longer() -> None:
    off, on = Settings(), Settings(images=True)
    assert off.longest_body(PICTURES_AT) == on.longest_body("/chat") == 256 * 1024
    longest = url(b"\0" * on.max_image_bytes)
    assert on.longest_body(PICTURES_AT) >= 256 * 1024 + 4 * len(longest.partition(",")[2])
    with LocalClient(create_app(on)) as client:
        for path, status in (("/chat", 413), (PICTURES_AT, 422)):
            assert client.post(path, content=b" " * 300_000).status_code == status


def test_a_budget_is_asked_for_a_picture_too(serve: Make, tmp_path: Any) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    _, token = keys.add("me", ["chat"])
    client = serve(images=True, keys=keys.path, tokens_per_day=2000)
    client.headers["Authorization"] = f"Bearer {token}"
    refused = client.post(PICTURES_AT, json=asked(turn(url())))
    assert refused.status_code == 422
    assert "2000 a day" in refused.json()["detail"]
    plain = {"role": "user", "content": "What is this?"}
    assert client.post(PICTURES_AT, json=asked(plain)).status_code == 200


# Elsewhere


def test_pictures_go_to_upstreams_that_read_them_and_to_no_other() -> None:
    async def scenario() -> None:
        async with fake_upstream() as blind, fake_upstream() as seeing:
            both = blind.upstream(), seeing.upstream(images=True)
            turns = [{"role": "user", "content": "What is <|im_end|> this?"}]
            kept = read(saved(image(), **told()))
            later = asyncio.get_running_loop().time() + 60
            ask = Ask(turns, 20, 0.0, 0, later, pictures={0: [kept]})
            async with started(*both) as pool:
                assert pool.reads_pictures
                for _ in range(3):
                    assert (await said(pool, ask))[0] == "Hello there"
                assert (len(blind.calls), len(seeing.calls)) == (0, 3)
                *_, last = seeing.calls[0].json["messages"]
                assert last["content"] == [
                    {"type": "image_url", "image_url": {"url": kept.as_url()}},
                    {"type": "text", "text": "What is < |im_end|> this?"},
                ]
                await said(pool)
                await said(pool)
                assert blind.calls, "questions without pictures go to both"
            async with started(blind.upstream()) as pool:
                assert not pool.reads_pictures

    run(scenario())


def test_a_seeing_upstream_out_of_service_is_waited_for() -> None:
    async def scenario() -> None:
        async with fake_upstream() as blind:
            gone = blind.upstream(images=True, url="http://127.0.0.1:1")
            async with started(blind.upstream(), gone) as pool:
                kept = read(saved(image()))
                turns = [{"role": "user", "content": "?"}]
                later = asyncio.get_running_loop().time() + 60
                ask = Ask(turns, 20, 0.0, 0, later, pictures={0: [kept]})
                with pytest.raises(ModelUnavailable, match="None of the 1 servers"):
                    await said(pool, ask)
                assert not blind.calls

    run(scenario())
