"""Load a base model, and a trained adapter on top of it.

The packaged default is SmolLM2-135M-Instruct, whose weights come inside a package and need no
network. Any other causal language model is named by its hub id or a local folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elara.model.chat import ModelError, give_template
from elara.model.packaged import PACKAGED, packaged_folder

if TYPE_CHECKING:
    import torch

TRAINING_FILE = "training.json"
WEIGHTS_FILE = "adapter_model.safetensors"  # the name that PEFT gives an adapter's weights


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


@functools.cache
def choose_precision(wanted: str = "by_hardware") -> Precision:
    """Choose device and number format once, by what the hardware computes fast and safely.

    Args:
        wanted: `by_hardware`, or `bfloat16`, `float32` or `float16` to insist. float16 is for
            answering on a CUDA device; `elara.train` refuses it.

    Returns:
        By hardware: bfloat16 on CUDA devices of compute capability 8 (Ampere) or newer, float32
        elsewhere. Every CPU computes float32, those with bfloat16 units (AMX) included: one
        adapter and one set of numbers, and a small model gains nothing by fewer digits.

    Raises:
        ModelError: the hardware does not compute the wanted format, or there is no such format.
    """
    import torch

    cuda = torch.cuda.is_available()
    ampere = cuda and torch.cuda.get_device_capability()[0] >= 8
    device = "cuda" if cuda else "cpu"
    if wanted == "by_hardware":
        if ampere:
            return Precision("cuda", "bfloat16", "CUDA device of the Ampere generation or newer")
        if cuda:
            return Precision("cuda", "float32", "CUDA device older than Ampere: no bfloat16 units")
        return Precision("cpu", "float32", "no CUDA device; every CPU computes the same float32")
    if wanted not in ("bfloat16", "float32", "float16"):
        raise ModelError(
            f"Unknown precision {wanted!r}: `by_hardware`, `bfloat16`, `float32` or `float16`."
        )
    if wanted == "bfloat16" and cuda and not ampere:
        raise ModelError("This CUDA device is older than Ampere and has no bfloat16: use float32.")
    if wanted == "float16" and not cuda:
        raise ModelError("float16 is slow and inexact on a CPU: use `by_hardware`.")
    return Precision(device, wanted, "asked for by the `precision` parameter")


@dataclass
class LanguageModel:
    """A model ready to answer.

    Args:
        model: the transformers (or PEFT) model, in evaluation mode.
        tokenizer: its tokenizer, with a chat template.
        name: the base model's name, as `load_base` takes it.
        precision: where and in which number format it computes.
        processor: turns pictures and text into what a vision model reads, with the same tokenizer;
            None for a model that reads text only.
    """

    model: Any
    tokenizer: Any
    name: str
    precision: Precision
    processor: Any = None

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return self.precision.device

    @property
    def dtype(self) -> str:
        """The torch dtype's name."""
        return self.precision.dtype

    @property
    def quantisation(self) -> str:
        """`nf4` where the base weights are stored in 4 bits, else `none`."""
        return "nf4" if getattr(self.model, "is_loaded_in_4bit", False) else "none"

    @property
    def causal(self) -> Any:
        """The transformers model, without the adapter's wrapper."""
        get_base = getattr(self.model, "get_base_model", None)
        return get_base() if get_base else self.model

    @property
    def bytes_each(self) -> int:
        """Bytes of a number in which it computes."""
        return 4 if self.dtype == "float32" else 2


def load_base(
    name: str = PACKAGED, *, quantisation: str = "none", precision: str = "by_hardware"
) -> LanguageModel:
    """Load a base model.

    Args:
        name: `smollm2-135m-instruct` (packaged), a hub id such as
            `mistralai/Mistral-7B-Instruct-v0.3`, one with a revision (`owner/name@revision`), or
            a local folder. Any causal language model of transformers will do, and any vision model
            (image-text-to-text); one without a chat template gets a plain one, which is said.
        quantisation: `none`, or `nf4` for 4-bit NormalFloat with double quantisation (QLoRA),
            which needs a quarter of the memory.
        precision: as `choose_precision` takes it.

    Raises:
        ModelError: the model is not there, is gated, or cannot be read.

    Source: QLoRA, https://arxiv.org/abs/2305.14314; transformers AutoModelForCausalLM and
        https://huggingface.co/docs/transformers/tasks/image_text_to_text
    """
    import torch
    import transformers

    if quantisation not in ("none", "nf4"):
        raise ModelError(f"Unknown quantisation {quantisation!r}: `none` or `nf4`.")
    transformers.utils.logging.disable_progress_bar()
    chosen = choose_precision(precision)
    dtype: torch.dtype = getattr(torch, chosen.dtype)
    place = _place(name)
    options: dict[str, Any] = {"dtype": dtype}
    # FSDP2 places the parts itself, and can split 4-bit weights only if they are stored as floats.
    split = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    if quantisation == "nf4":
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=dtype if split else None,
        )
        own = torch.cuda.current_device() if chosen.device == "cuda" else "cpu"
        options["device_map"] = {"": own}
    try:
        with quiet_libraries():
            tokenizer = _tokenizer(place)
            processor = _processor(name, place)
            of = "AutoModelForImageTextToText" if processor else "AutoModelForCausalLM"
            model = getattr(transformers, of).from_pretrained(**place, **options)
    except (OSError, ValueError) as error:
        raise ModelError(_why_it_cannot_load(name, error)) from error
    if quantisation == "none" and not split:
        model = model.to(chosen.device)
    if quantisation == "nf4" and chosen.device == "cpu":
        _multiply_alike_everywhere(model)
    _use_flash_attention(model, chosen)
    own = tokenizer.chat_template
    description = give_template(tokenizer)
    if tokenizer.chat_template != own:
        print(f"{name}: {description}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if processor:  # has its own until now, without what was mended above
        processor.tokenizer, processor.chat_template = tokenizer, tokenizer.chat_template
    model.eval()
    return LanguageModel(model, tokenizer, name, chosen, processor)


def load_tokenizer(name: str = PACKAGED) -> Any:
    """Load the tokenizer of a base model alone, with the chat template that training uses.

    Args:
        name: as `load_base` takes it.

    Raises:
        ModelError: the model is not there, is gated, or cannot be read.
    """
    place = _place(name)
    try:
        with quiet_libraries():
            tokenizer = _tokenizer(place)
    except (OSError, ValueError) as error:
        raise ModelError(_why_it_cannot_load(name, error)) from error
    give_template(tokenizer)
    return tokenizer


def _place(name: str) -> dict[str, Any]:
    """Where transformers finds a base model."""
    where, revision = split_revision(name)
    if name == PACKAGED:
        where = str(packaged_folder())
    return {"pretrained_model_name_or_path": where, "revision": revision or "main"}


def _tokenizer(place: dict[str, Any]) -> Any:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    if type(tokenizer).__name__ == "MistralCommonBackend":
        # Where mistral-common is installed; it has no template that could be saved.
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(**place)
    return tokenizer


def _processor(name: str, place: dict[str, Any]) -> Any:
    """What a vision model reads pictures with; None for a model that reads text only."""
    import transformers
    from transformers.models.auto import modeling_auto

    kind = transformers.AutoConfig.from_pretrained(**place).model_type
    if kind not in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return None
    try:
        return transformers.AutoProcessor.from_pretrained(**place)
    except ImportError as error:
        raise ModelError(
            f"{name} reads pictures with a package that is missing: install the torchvision that "
            f"belongs to your torch (https://pytorch.org/get-started). It says: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    except OSError:
        if kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise
        print(f"{name}: the files with which it reads pictures are missing, so it reads text only.")
        return None


def _multiply_alike_everywhere(model: Any) -> None:
    """Let 4-bit layers compute the same on every CPU.

    On CPUs with AVX512-BF16 bitsandbytes packs the weights anew at the first answer and from then
    on multiplies in bfloat16, in training too, where that product has no gradient.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def split_revision(name: str) -> tuple[str, str | None]:
    """Take the revision off a model's name.

    Args:
        name: as `load_base` takes it: `owner/name@revision`, a plain name, or a folder, which
            may have an @ in its path.

    Returns:
        The name or folder, and the revision (a branch, tag or commit) or None.
    """
    where, at, revision = name.rpartition("@")
    if not at or not revision or Path(name).exists():
        return name, None
    return where, revision


def _use_flash_attention(model: Any, precision: Precision) -> None:
    """FlashAttention where it is installed and the model can; transformers' choice elsewhere."""
    import transformers

    half = precision.device == "cuda" and precision.dtype != "float32"
    if half and transformers.utils.is_flash_attn_2_available():
        with contextlib.suppress(ValueError):  # BLOOM, among others, cannot
            model.set_attn_implementation("flash_attention_2")


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


def _why_it_cannot_load(name: str, error: Exception) -> str:
    text = str(error)
    first = text.splitlines()[0] if text else type(error).__name__
    owner = split_revision(name)[0]
    if "gated" in text.lower() or "403" in text:
        return (
            f"{name} is gated. Accept its licence at https://huggingface.co/{owner}, make a read "
            "token at https://huggingface.co/settings/tokens, then run `hf auth login` with it "
            "(or set HF_TOKEN) and try again."
        )
    return (
        f"Cannot load {name}: {first}. Check the name, or the network; for a private model run "
        f"`hf auth login` or set HF_TOKEN. `{PACKAGED}` works offline."
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
    with quiet_libraries():
        import peft

    record = folder / TRAINING_FILE
    if not record.exists():
        raise ModelError(f"{folder} holds no adapter ({TRAINING_FILE} is missing): train first.")
    training = json.loads(record.read_text(encoding="utf-8"))
    name = training["base_model"]
    if base is None:
        wanted = training.get("config", {}).get("precision", "by_hardware")
        base = load_base(name, quantisation=training["quantisation"], precision=wanted)
    elif base.name != name:
        raise ModelError(f"The adapter in {folder} was trained on {name}, not on {base.name}.")
    try:
        with quiet_libraries():
            model = peft.PeftModel.from_pretrained(base.model, folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"The adapter in {folder} cannot be read: {error}") from error
    # By the name in the file, PEFT would ask its hub about the base model at every checkpoint.
    model.peft_config["default"].base_model_name_or_path = base.model.name_or_path
    model.eval()
    return LanguageModel(model, base.tokenizer, name, base.precision, base.processor)
