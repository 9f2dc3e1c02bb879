"""Examples that share a row stay apart, and train as they would alone."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
import transformers
from test_train_models import tiny
from torch.nn.functional import scaled_dot_product_attention

from elara import train
from elara.model import LanguageModel, load_base
from elara.train import cpu_kernels, sft
from elara.train.devices import attention
from elara.train.devices.attention import FlatRows
from elara.train.lora import add_lora
from elara.train.trainer import WithTargets

TOGETHER = {"lora_dropout": 0.0, "epochs": 1, "save_steps": 100, "trackers": ()}
WAYS = {
    "alone": {"batching": "shuffled", "batch_size": 1, "gradient_accumulation": 8},
    "padded": {"batching": "shuffled", "batch_size": 8, "gradient_accumulation": 1},
    "packed": {"batching": "packed", "batch_size": 8, "gradient_accumulation": 1},
}


class Gradients(transformers.TrainerCallback):  # type: ignore[misc]
    """Keep the gradients of a run's steps, and how often its layers asked for the attention."""

    def __init__(self) -> None:
        self.found: list[torch.Tensor] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        learned = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
        self.found.append(torch.cat(learned).clone())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of every row that the attention has computed."""
    counted: list[int] = []
    own = attention.attend

    def attend(module: Any, query: Any, *args: Any, **named: Any) -> Any:
        counted.append(query.shape[2])
        return own(module, query, *args, **named)

    monkeypatch.setattr(attention, "attend", attend)
    return counted


def run(
    folder: Path, out: Path, watcher: Any = None, *, examples: int = 8, **changes: Any
) -> train.Training:
    config = tiny_run.config(folder, **(TOGETHER | changes))
    lm = load_base(str(folder))
    rows, held = tiny_run.examples(examples), tiny_run.examples(4, start=100)
    data = train.tokenise(lm.tokenizer, rows, held, config)
    return train.fine_tune(lm, data, config, out, watchers=[watcher] if watcher else ())


def started(checkpointed: bool) -> Callable[..., Any]:
    """An adapter whose B matrices are not zero, which would hide most gradients."""

    def add(lm: LanguageModel, config: train.TrainingConfig) -> Any:
        model = add_lora(lm, config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        if checkpointed:
            model.activation_checkpointing_enable({"use_reentrant": False})
        return model

    return add


@pytest.mark.parametrize("checkpointed", [False, True])
def test_packed_padded_and_single_training_agree(
    checkpointed: bool,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[int],
) -> None:
    monkeypatch.setattr(sft, "add_lora", started(checkpointed))
    losses, gradients = {}, {}
    for way, changes in WAYS.items():
        watcher = Gradients()
        calls.clear()
        done = run(tiny_folder, tmp_path / way, watcher, **changes)
        assert bool(set(calls) - {32}) == (way == "packed")
        # Multiples of the longest example: no padding but the end's. 32 is the question before.
        assert set(calls) <= {32, 128, 256, 384}
        assert done.steps == 1
        (gradients[way],) = watcher.found
        losses[way] = done.losses.filter(split="train")["loss"][0]
        held = done.losses.filter(split="validation")["loss"].to_list()
        losses[f"{way} held out"] = held[0] if way != "alone" else 0.0
    for way in ("padded", "packed"):
        assert losses[way] == pytest.approx(losses["alone"], abs=1e-5)
        assert (gradients[way] - gradients["alone"]).abs().max() < 1e-5
    assert gradients["alone"].abs().max() > 1e-2
    assert losses["packed held out"] == pytest.approx(losses["padded held out"], abs=1e-5)


def rows_of(*lengths: int) -> list[dict[str, list[int]]]:
    """One row that packs examples of these lengths; the second half of each carries loss."""
    chance = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(3, 120, (sum(lengths),), generator=chance).tolist()
    labels: list[int] = []
    for n in lengths:
        start = len(labels)
        labels += [-100] * (n // 2) + ids[start + n // 2 : start + n]
    return [{"input_ids": ids, "labels": labels, "seq_lengths": list(lengths)}]


@pytest.mark.parametrize("family", ["SmolLM2 and Llama", "Mistral", "Qwen3", "Gemma3", "Phi3"])
@pytest.mark.parametrize("changed", range(4))
def test_no_token_sees_another_example(family: str, changed: int) -> None:
    """The last of the four is the padding."""
    model = tiny(family).model.train()
    attention.use(model)
    collate = WithTargets(FlatRows(0, longest=64))
    batch = collate(rows_of(9, 24, 7))
    starts = batch["cu_seq_lens_q"].tolist()
    assert starts == [0, 9, 33, 40, 64]
    one = slice(starts[changed], starts[changed + 1])
    others = torch.ones(64, dtype=torch.bool)
    others[one] = False

    def seen(batch: dict[str, Any]) -> tuple[Any, Any]:
        """Logits, and the gradient of the other examples' loss at every token's embedding."""
        inputs = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
        named = {n: v for n, v in batch.items() if n.endswith(("_q", "_k", "position_ids"))}
        logits = model(inputs_embeds=inputs, use_cache=False, **named).logits[0]
        places = batch["target_positions"]
        places = places[others[places]]
        targets = batch["labels"][0, places + 1]
        torch.nn.functional.cross_entropy(logits[places], targets).backward()
        return logits.detach(), inputs.grad[0]

    logits, gradient = seen(batch)
    batch["input_ids"][0, one] = batch["input_ids"][0, one].roll(1).add(1).remainder(120)
    after, gradient_after = seen(batch)
    torch.testing.assert_close(after[others], logits[others], rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient_after[others], gradient[others], rtol=0, atol=1e-6)
    assert not gradient_after[one].any()
    assert (after[one] - logits[one]).abs().max() > 1e-3


def test_an_example_reads_in_a_row_as_it_reads_alone() -> None:
    model = tiny("Mistral").model
    batch = FlatRows(0, longest=64)(rows_of(9, 24, 7))
    alone = model(input_ids=batch["input_ids"][:, 9:33], use_cache=False).logits
    attention.use(model)
    packed = model(use_cache=False, **batch).logits
    torch.testing.assert_close(packed[:, 9:33], alone, rtol=0, atol=1e-5)


def test_rows_are_laid_flat() -> None:
    rows = [
        {"input_ids": [5, 6, 7], "labels": [5, 6, -100], "seq_lengths": [2, 1]},
        {"input_ids": [8, 9], "labels": [-100, 9], "seq_lengths": [2]},
    ]
    batch = WithTargets(FlatRows(padding=1, longest=8))(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 1, 1, 1]]
    # What begins an example is not foretold, whatever its label says.
    assert batch["labels"].tolist() == [[-100, 6, -100, -100, 9, -100, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 0, 1, 0, 1, 2]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 2, 3, 5, 8]
    assert batch["cu_seq_lens_k"].dtype == torch.int32
    assert batch["max_length_q"] == batch["max_length_k"] == 8
    assert batch["target_positions"].tolist() == [0, 3]
    plain = [{name: row[name] for name in ("input_ids", "labels")} for row in rows]
    assert FlatRows(1, longest=5)(plain)["cu_seq_lens_q"].tolist() == [0, 3, 5]
    shapes = {FlatRows(1, longest=2048)(rows_of(n))["input_ids"].shape[1] for n in range(1, 600)}
    assert shapes == {256, 512, 768}


def by_examples(query: Any, key: Any, value: Any, starts: Any, window: int | None) -> Any:
    """What the kernels compute, one example after another."""
    found = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        q, k, v = (x[start:end].transpose(0, 1)[None] for x in (query, key, value))
        place = torch.arange(end - start)
        mask = place <= place[:, None]
        if window is not None:
            mask &= place >= place[:, None] - window
        seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        found.append(seen[0].transpose(0, 1))
    return torch.cat(found)


def new_kernel(asked: list[dict[str, Any]]) -> Callable[..., Any]:
    """`varlen_attn` of PyTorch 2.11 and later, which also writes down what it is given."""

    def varlen_attn(
        query: Any,
        key: Any,
        value: Any,
        cu_seq_q: Any,
        cu_seq_k: Any,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Any:
        assert cu_seq_q is cu_seq_k
        assert query.shape[1] == key.shape[1] or enable_gqa
        assert window_size[1] == 0  # causal
        asked.append({"window": window_size, "scale": scale, "longest": (max_q, max_k)})
        own = query.shape[-1] ** -0.5
        before = None if window_size[0] < 0 else window_size[0]
        return by_examples(query * ((scale or own) / own), key, value, cu_seq_q, before)

    return varlen_attn


def old_kernel(asked: list[dict[str, Any]]) -> Callable[..., Any]:
    """`varlen_attn` of PyTorch 2.10."""

    def varlen_attn(
        query: Any,
        key: Any,
        value: Any,
        cu_seq_q: Any,
        cu_seq_k: Any,
        max_q: int,
        max_k: int,
        is_causal: bool = False,
        return_aux: Any = None,
    ) -> Any:
        assert is_causal
        assert query.shape[1] == key.shape[1]
        asked.append({"longest": (max_q, max_k)})
        return by_examples(query, key, value, cu_seq_q, None)

    return varlen_attn


Kernel = Callable[[list[dict[str, Any]]], Callable[..., Any]]


def give(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> list[dict[str, Any]]:
    """Put a kernel in the place of PyTorch's, and let the CPU have it."""
    asked: list[dict[str, Any]] = []
    varlen = kernel(asked)
    takes = set(inspect.signature(varlen).parameters)
    monkeypatch.setattr(attention, "varlen_attn", varlen)
    monkeypatch.setattr(attention, "_TAKES", takes)
    monkeypatch.setattr(
        attention, "_has_kernel", lambda *given: given[3] is None or "window_size" in takes
    )
    return asked


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("kernel", [new_kernel, old_kernel])
def test_the_kernel_computes_what_the_mask_does(
    kernel: Kernel, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    given = [torch.randn(1, heads, 40, 8, requires_grad=True) for heads in (4, 2, 2)]
    named = {"cu_seq_lens_q": torch.tensor([0, 9, 33, 40], dtype=torch.int32)}
    named |= {"max_length_q": 64, "scaling": 0.2, "sliding_window": window}

    def computed() -> list[Any]:
        for x in given:
            x.grad = None
        found, weights = attention.attend(None, *given, None, **named)
        assert weights is None
        assert found.shape == (1, 40, 4, 8)
        (found * torch.arange(8)).sum().backward()
        return [found.detach(), *(x.grad for x in given)]

    wanted = computed()
    asked = give(monkeypatch, kernel)
    torch.testing.assert_close(computed(), wanted, rtol=1e-5, atol=1e-5)
    new = {"longest": (64, 64), "scale": 0.2, "window": (2 if window else -1, 0)}
    old = [] if window else [{"longest": (64, 64)}]  # it has no window: the mask computes that
    assert asked == ([new] if kernel is new_kernel else old)


def test_the_installed_kernel_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tensors there are shapes alone, as no CPU has the kernel."""
    monkeypatch.setattr(attention, "_has_kernel", lambda *_: True)
    half = {"device": "meta", "dtype": torch.bfloat16, "requires_grad": True}
    query, key, value = (torch.empty(1, heads, 40, 16, **half) for heads in (4, 2, 2))
    starts = torch.empty(4, dtype=torch.int32, device="meta")
    named = {"cu_seq_lens_q": starts, "max_length_q": 64, "sliding_window": 5}
    found, _ = attention.attend(None, query, key, value, None, **named)
    assert (found.shape, found.dtype) == ((1, 40, 4, 16), torch.bfloat16)
    found.sum().backward()
    assert key.grad.shape == key.shape


def test_the_kernel_is_asked_only_where_it_can_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Tensor:
        """Queries as they would be on a device."""

        dtype: Any = torch.bfloat16
        is_cuda: bool = True
        shape: tuple[int, ...] = (1, 2, 40, 8)

    monkeypatch.setattr(attention, "_TAKES", set(inspect.signature(new_kernel([])).parameters))
    monkeypatch.setattr(attention, "varlen_attn", new_kernel([]))
    has, there = attention._has_kernel, Tensor()
    assert has(there, there, there, None)
    assert has(there, there, there, 5)
    assert not has(Tensor(is_cuda=False), there, there, None)
    assert not has(Tensor(dtype=torch.float32), there, there, None)
    assert not has(there, there, Tensor(shape=(1, 2, 40, 4)), None)
    monkeypatch.setattr(attention, "_TAKES", set(inspect.signature(old_kernel([])).parameters))
    assert has(there, there, there, None)
    assert not has(there, there, there, 5)
    monkeypatch.setattr(attention, "varlen_attn", None)
    assert not has(there, there, there, None)


class Synchronises(torch.utils._python_dispatch.TorchDispatchMode):
    """Fail on what would make a GPU's caller wait for it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        waits = name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero")
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            waits = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        assert not waits, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


class Steps(transformers.TrainerCallback):  # type: ignore[misc]
    """From a step's first pass to the optimiser's end; logging, which waits, comes after."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack, self.steps = stack, 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.stack.enter_context(Synchronises())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.stack.close()
        self.steps += 1


def test_a_step_does_not_wait_for_the_device(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = give(monkeypatch, new_kernel)
    ways = WAYS["packed"] | {"batch_size": 1, "gradient_accumulation": 2, "loraplus_ratio": 4.0}
    with contextlib.ExitStack() as stack:
        watcher = Steps(stack)
        run(tiny_folder, tmp_path, watcher, examples=16, **ways)
    assert watcher.steps > 1
    assert asked


def test_what_would_wait_is_noticed() -> None:
    x = torch.arange(4.0)
    for waits in (
        lambda: x[x > 1],
        lambda: x.sum().item(),
        lambda: bool(x[0]),
        lambda: x.nonzero(),
    ):
        with pytest.raises(AssertionError, match="waits for the device"), Synchronises():
            waits()


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_gets_its_own_attention_back(
    fails: bool, tiny_folder: Path, tmp_path: Path, calls: list[int]
) -> None:
    class Fails(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, model: Any, **__: Any) -> None:
            assert model.config._attn_implementation == attention.NAME
            if fails:
                raise KeyError("stop")

    lm = load_base(str(tiny_folder))
    own = lm.model.config._attn_implementation
    config = tiny_run.config(tiny_folder, **(TOGETHER | WAYS["packed"]))
    data = train.tokenise(lm.tokenizer, tiny_run.examples(8), tiny_run.examples(2, 100), config)
    try:
        train.fine_tune(lm, data, config, tmp_path, watchers=[Fails()])
    except KeyError:
        assert fails
    assert calls
    assert lm.causal.config._attn_implementation == own != attention.NAME
    lm.model(input_ids=torch.tensor([[5, 6, 7]]))  # as anybody may call it


def test_a_pass_that_names_no_examples_is_refused() -> None:
    model = tiny("Mistral").model
    attention.use(model)
    with pytest.raises(train.TrainingError, match="2 rows without cumulative lengths"):
        model(input_ids=torch.tensor([[5, 6, 7], [8, 9, 10]]))


@pytest.mark.parametrize(
    ("family", "changes", "why"),
    [
        ("Gemma2", {}, "Gemma2Attention layers ask for softcap"),
        ("BLOOM", {}, "take no attention function"),
        ("Mistral", {"attention_dropout": 0.1}, "drops attention weights in training"),
        ("Mistral", {"head_dim": 512}, "heads 512 numbers wide"),
        (
            "Mistral",
            {"layer_types": ["conv", "full_attention"]},
            "layers of other kinds \\(conv\\)",
        ),
    ],
)
def test_models_that_cannot_use_it_say_why(family: str, changes: dict[str, Any], why: str) -> None:
    lm = tiny(family)
    for name, value in changes.items():
        setattr(lm.model.config, name, value)
    own = lm.model.config._attn_implementation
    usable, reason = attention.usable(lm)
    assert not usable
    assert re.search(why, reason), reason
    assert lm.model.config._attn_implementation == own


def test_dropped_weights_and_masks_are_refused() -> None:
    given = [torch.randn(1, 2, 4, 8) for _ in range(3)]
    starts = torch.tensor([0, 4], dtype=torch.int32)
    for named in ({"dropout": 0.1}, {"attention_mask": starts}, {"is_causal": False}):
        with pytest.raises(train.TrainingError, match=next(iter(named))):
            attention.attend(None, *given, cu_seq_lens_q=starts, **named)


def test_a_sliding_window_is_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows longer than the window: what the model computes alone is what it computes packed."""
    lm = tiny("Mistral")
    lm.model.config.sliding_window = 6
    batch = FlatRows(0, longest=64)(rows_of(9, 24, 7))
    alone = lm.model(input_ids=batch["input_ids"][:, 9:33], use_cache=False).logits
    asked = give(monkeypatch, new_kernel)
    attention.use(lm.model)
    packed = lm.model(use_cache=False, **batch).logits
    assert {tuple(a["window"]) for a in asked} == {(5, 0)}
    torch.testing.assert_close(packed[:, 9:33], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_is_the_same_however_many_rows_are_scored_at_once(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(37, 16, dtype=dtype, requires_grad=True)
    weight, targets = torch.randn(300, 16, dtype=dtype), torch.randint(300, (37,))
    plain = hidden.detach().float().requires_grad_()
    wanted = torch.nn.functional.cross_entropy(plain @ weight.T.float(), targets, reduction="sum")
    wanted.backward()
    exact = dtype == torch.float32
    found = {}
    for rows in (1, 5, 10_000):
        monkeypatch.setattr(cpu_kernels, "ROWS", rows)
        hidden.grad = None
        loss = cpu_kernels._AnswerLoss.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
        loss.backward()
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-5 if exact else 1e-2)
        near = {"rtol": 1e-4, "atol": 1e-5} if exact else {"rtol": 5e-2, "atol": 5e-2}
        torch.testing.assert_close(hidden.grad.float(), plain.grad, **near)
        found[rows] = loss.item()
    assert found[1] == pytest.approx(found[10_000], rel=1e-6)


def test_on_a_gpu_the_scores_of_one_block_have_a_budget() -> None:
    small, large = (torch.empty(n, 4, device="meta") for n in (32_768, 10**9))
    assert cpu_kernels._rows_at_once(small) * 4 * 32_768 == 256 * 2**20
    assert cpu_kernels._rows_at_once(large) == 1
    assert cpu_kernels._rows_at_once(torch.empty(32_768, 4)) == cpu_kernels.ROWS
