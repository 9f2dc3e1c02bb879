"""A workspace with clean articles, and an encoder that is small enough to be made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from clean_articles import DRUGS, SIGNS, article, finish

from elara.records import Section
from elara.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Twenty articles that may be indexed, and three that may not."""
    made = Workspace(tmp_path / "workspace")
    articles = [article(number) for number in range(20)]
    articles += [
        article(20, licence="CC-BY-NC-4.0", redistributable=False),
        article(21, retracted=True),
        article(22, abstract="", body=[Section("", "What is it?", "question")]),
    ]
    finish(made, articles)
    return made


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Make a sentence-transformers model of one layer, with random weights; gives its folder."""

    def make(prompts: dict[str, str] | None = None, seed: int = 0) -> str:
        import torch
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        words = "patients who take may notice it was seen in trial stop and call a doctor when"
        words += " begins report on query passage advice abstract what does do : . ? 1 2 3 4 5"
        known = ["[PAD]", "[UNK]", *words.split(), *DRUGS, *SIGNS]
        raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(known)}, "[UNK]"))
        raw.normalizer = normalizers.Lowercase()
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]"
        )
        folder = tmp_path_factory.mktemp("encoder")
        tokenizer.save_pretrained(folder)
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(known),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
        BertModel(config).save_pretrained(folder)
        if prompts is not None:
            settings = folder / "config_sentence_transformers.json"
            settings.write_text(json.dumps({"prompts": prompts}), encoding="utf-8")
        return str(folder)

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., str]) -> str:
    """The folder of a model that wants no prefix."""
    return make_model()
