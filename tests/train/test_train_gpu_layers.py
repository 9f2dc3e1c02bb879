"""4-bit and compiled layers on a CPU: the same numbers, and nothing kept that was not planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import peft
import pytest
import torch
import transformers
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Params4bit
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from elara.train import TrainingConfig
from elara.train.config import TARGETS
from elara.train.devices import attention, cards, compiling, gpu, nf4
from elara.train.devices.attention import FlatRows
from elara.train.lora import restoring

LAYERS, WIDTH, INNER = 3, 64, 192
CONFIG = TrainingConfig(lora_r=4, lora_dropout=0.0, batch_size=2, max_length=40)


def adapted(quantisation: str, dropout: float = 0.0) -> Any:
    """A tiny Mistral in float32 with an adapter whose matrices are not zero."""
    torch.manual_seed(0)
    shape = transformers.MistralConfig(
        vocab_size=512,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=None,
    )
    base = transformers.MistralForCausalLM(shape)
    if quantisation == "nf4":
        settings = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        weights = base.state_dict()
        replace_with_bnb_linear(base, ["lm_head"], settings)
        for name, module in base.named_modules():
            if isinstance(module, Linear4bit):
                packed = Params4bit(weights[f"{name}.weight"], quant_type="nf4", module=module)
                module.weight = packed.to("cpu")  # quantises
        base.is_loaded_in_4bit = True
    lora = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        lora_dropout=dropout,
        target_modules=list(TARGETS),
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(base, lora).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def step(model: Any, length: int) -> tuple[float, torch.Tensor, dict[int, torch.Tensor]]:
    """Loss, all gradients, and what is kept for the backward pass besides parameters."""
    ids = torch.randint(3, 500, (2, length), generator=torch.Generator().manual_seed(length))
    model.zero_grad()
    torch.manual_seed(1)  # of dropout
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = model.get_base_model().model(input_ids=ids, use_cache=False).last_hidden_state
    keep(states)
    own = list(model.parameters())
    for parameter in own:
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    logits = model.get_base_model().lm_head(states[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    gradients = [p.grad.flatten().clone() for p in own if p.grad is not None]
    return loss.item(), torch.cat(gradients), kept


def total(kept: dict[int, torch.Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def planned(checkpointed: int, **changes: Any) -> gpu.GpuPlan:
    return gpu.GpuPlan(batch=2, accumulation=1, checkpointed_layers=checkpointed, **changes)


def layer(nested: bool, bias: bool = False, dtype: Any = torch.float32) -> Linear4bit:
    torch.manual_seed(0)
    made = Linear4bit(128, 96, bias, dtype, compress_statistics=nested, quant_type="nf4")
    made.weight.data = torch.randn(96, 128, dtype=dtype)
    made.requires_grad_(False)
    return made.to("cpu")


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_operator_computes_what_bitsandbytes_does(
    nested: bool, bias: bool, dtype: torch.dtype
) -> None:
    made = layer(nested, bias, dtype)
    assert made.weight.quant_state.nested is nested
    x = torch.randn(2, 5, 128, dtype=dtype, requires_grad=True)
    slack = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.1}
    found, wanted = nf4.linear(made, x), made(x)
    torch.testing.assert_close(found, wanted, **slack)
    upstream = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad(y, x, upstream)[0] for y in (found, wanted))
    torch.testing.assert_close(ours, theirs, **slack)
    made.bias = None
    identity = torch.eye(128, dtype=dtype)  # gives the weights themselves: bit for bit
    weight = dequantize_4bit(made.weight.data, made.weight.quant_state)
    assert torch.equal(nf4.linear(made, identity), weight.t())


def test_for_reading_alone_bitsandbytes_has_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made = layer(nested=True).eval()
    monkeypatch.setattr(nf4, "nf4_linear", None)  # called, it would fail
    x = torch.randn(3, 128, requires_grad=True)
    assert torch.equal(nf4.linear(made, x), made(x))


class Calls(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.name()] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("checkpointed", [0, 2])
def test_weights_are_unpacked_once_per_layer_and_pass(checkpointed: int) -> None:
    model = adapted("nf4")
    with restoring(model), Calls() as calls:
        gpu.apply(model.train(), planned(checkpointed))
        step(model, 16)
    # The first layer's input needs no gradient unless something is computed again for it: three
    # products fewer in the backward pass.
    passes = 7 * (2 * LAYERS + checkpointed) - (0 if checkpointed else 3)
    assert calls.counts["elara::nf4_linear"] == passes
    assert not any(name.startswith("bitsandbytes::") for name in calls.counts)


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_what_is_kept_is_what_the_plan_counts(quantisation: str) -> None:
    model = adapted(quantisation)
    for checkpointed in range(LAYERS + 1):
        with restoring(model):
            gpu.apply(model.train(), planned(checkpointed))
            _, _, kept = step(model, CONFIG.max_length)
        shape = model.config
        counted = gpu.kept_bytes(shape, CONFIG, 2, checkpointed, itemsize=4)
        assert counted == pytest.approx(total(kept), rel=0.1), checkpointed


@pytest.fixture
def counting() -> Iterator[Any]:
    """A backend that counts the graphs it is given."""
    torch._dynamo.reset()
    yield CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()


@pytest.mark.long
@pytest.mark.parametrize(("quantisation", "dropout"), [("none", 0.1), ("nf4", 0.0)])
def test_one_function_serves_all_layers_and_lengths(
    quantisation: str, dropout: float, counting: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths, wanted = (17, 25, 41, 33), {}
    first = adapted(quantisation, dropout)
    for checkpointed in range(LAYERS + 1):
        with restoring(first):
            gpu.apply(first.train(), planned(checkpointed))
            for length in lengths:
                wanted[checkpointed, length] = step(first, length)
    weights = {WIDTH * INNER, WIDTH * WIDTH, WIDTH * WIDTH // 2}
    second = adapted(quantisation, dropout)  # finds all compiled
    for model in (first, second):
        for checkpointed in range(LAYERS + 1):
            with restoring(model):
                gpu.apply(model.train(), planned(checkpointed))
                plan = planned(checkpointed, compiled=True, compile_seconds=7)
                compiling.compile_layers(model, plan, backend=counting)
                for length in lengths:
                    loss, gradients, kept = step(model, length)
                    before = wanted[checkpointed, length]
                    assert loss == pytest.approx(before[0], abs=1e-5)
                    torch.testing.assert_close(gradients, before[1], rtol=1e-4, atol=1e-5)
                    assert total(kept) < 1.1 * total(before[2])
                    # None of the size of a weight, whatever its shape.
                    assert not weights & {t.numel() for t in kept.values()}
                assert compiling.running_plan(model) == plan
            assert compiling.running_plan(model) is None
    assert counting.frame_count == 2  # the first length, and all others
    said = capsys.readouterr().out.splitlines()
    assert said == ["Compiling the layers: about 60 seconds once …"]


@pytest.mark.long
def test_rows_of_any_number_of_examples_share_a_graph(counting: Any) -> None:
    flat, model = FlatRows(0, 128), adapted("none")
    rows = ((20, 30, 40), (50, 60), (9, 9, 9, 9, 9, 9), (128,), (70, 58))  # tokens of each example
    batches = []
    for lengths in rows:
        ids = [list(range(5, 5 + length)) for length in lengths]
        batches.append(flat([{"input_ids": example, "labels": example} for example in ids]))
    losses = []
    for compiled in (False, True):
        with restoring(model):
            attention.use(model.get_base_model())
            gpu.apply(model.train(), planned(1))
            if compiled:
                plan = planned(1, compiled=True)
                compiling.compile_layers(model, plan, backend=counting)
            found = [model(**batch, use_cache=False).loss for batch in batches]
            for loss in found:
                loss.backward()
            losses.append([loss.item() for loss in found])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert counting.frame_count == 1  # all are of one length


def test_a_compiler_that_fails_is_told_once_and_done_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no compiler here")

    model = adapted("none")
    with restoring(model):
        gpu.apply(model.train(), planned(1))
        loss, gradients, _ = step(model, 16)
    plan = planned(1, compiled=True, compile_seconds=60, seconds=660, tokens=80)
    with restoring(model):
        gpu.apply(model.train(), planned(1))
        compiling.compile_layers(model, plan, backend=broken)
        for _ in range(2):
            found = step(model, 16)
            assert found[0] == pytest.approx(loss, abs=1e-6)
            torch.testing.assert_close(found[1], gradients)
        running = compiling.running_plan(model)
    assert running is not None
    assert not running.compiled
    share = cards.SHARE[False, True] / cards.SHARE[False, False]
    assert running.seconds == pytest.approx(600 * share)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert "about 60 seconds once" in said[0]
    assert "no compiler here" in said[1]
    assert "takes about 1.4 times as long" in said[1]
    assert "install a C++ compiler" in said[1]


def test_a_backward_pass_that_cannot_be_compiled_ends_no_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = []

    def broken_for_the_second_length(graph: Any, _: Any) -> Any:
        asked.append(graph)
        if len(asked) > 1:
            raise OSError("no kernel for all lengths")
        return make_boxed_func(graph.forward)

    def forward_only(graph: Any, _: Any) -> Any:
        return make_boxed_func(graph.forward)

    torch._dynamo.reset()
    backend = aot_autograd(fw_compiler=forward_only, bw_compiler=broken_for_the_second_length)
    model = adapted("none")
    with restoring(model):
        gpu.apply(model.train(), planned(1))
        wanted = [step(model, length)[:2] for length in (16, 24, 32)]
    with restoring(model):
        gpu.apply(model.train(), planned(1))
        compiling.compile_layers(model, planned(1, compiled=True), backend=backend)
        for length, (loss, gradients) in zip((16, 24, 32), wanted, strict=True):
            found = step(model, length)
            assert found[0] == pytest.approx(loss, abs=1e-5)
            torch.testing.assert_close(found[1], gradients, rtol=1e-4, atol=1e-5)
        running = compiling.running_plan(model)
    torch._dynamo.reset()
    assert len(asked) == 2
    assert running is not None
    assert not running.compiled
    assert "no kernel for all lengths" in capsys.readouterr().out


def test_evaluations_and_caches_are_not_compiled() -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("compiled")

    model = adapted("none")
    ids = torch.arange(3, 19)[None]
    wanted = model.eval()(input_ids=ids).logits
    with restoring(model):
        compiling.compile_layers(model, planned(0, compiled=True), backend=never)
        torch.testing.assert_close(model(input_ids=ids).logits, wanted)
        model.train()
        with torch.no_grad():
            torch.testing.assert_close(model(input_ids=ids).logits, wanted)
        torch.testing.assert_close(model(input_ids=ids, use_cache=True).logits, wanted)


def test_what_a_layer_itself_raises_is_not_the_compilers_fault() -> None:
    model = adapted("none")
    with restoring(model):
        gpu.apply(model.train(), planned(LAYERS))
        compiling.compile_layers(model, planned(LAYERS, compiled=True), backend="eager")

        def full(*_: Any, **__: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiling, "_compiled", lambda *_: full)
            with pytest.raises(torch.OutOfMemoryError):
                step(model, 16)
