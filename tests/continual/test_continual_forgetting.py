"""Training on from an adapter: replay is traceable, and forgetting has a bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny_run

from elara import train
from elara.continual import forgetting as continual
from elara.continual.forgetting import change, forgetting_figure, replay, train_on
from elara.continual.versions import Versions
from elara.evaluate.chance import interval
from elara.model import load_adapter
from elara.model.losses import answer_losses


def old() -> pl.DataFrame:
    return tiny_run.examples(16)


def new(n: int = 8) -> pl.DataFrame:
    """Examples of another source, with answers of another kind, under another licence."""
    table = tiny_run.examples(n, start=50).with_columns(
        id="new:" + pl.col("id"),
        article_ids=pl.col("article_ids").list.eval("new:" + pl.element()),
        licence=pl.lit("CC-BY-4.0"),
    )
    told = pl.element().struct.with_fields(
        content=pl.field("content").str.replace("is a condition with.*", "spreads by mosquitoes.")
    )
    return table.with_columns(messages=pl.col("messages").list.eval(told))


def old_test() -> pl.DataFrame:
    return tiny_run.examples(4, start=200).with_columns(split=pl.lit("test"))


@pytest.fixture(scope="module")
def home(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    tiny_run.run(tiny_folder, home, epochs=8, learning_rate=3e-2, save_steps=100)
    return home


def go_on(tiny_folder: Path, home: Path, out: Path, **changes: Any) -> continual.Continued:
    settings: dict[str, Any] = {"max_forgetting": 0.05, "share": 0.5, "epochs": 4}
    settings |= changes
    bound, share = settings.pop("max_forgetting"), settings.pop("share")
    return train_on(
        home / "adapter",
        replay(old(), new(), share, seed=1),
        old().head(0),
        old_test(),
        tiny_run.config(tiny_folder, save_steps=100, **settings),
        out / "checkpoints",
        max_forgetting=bound,
    )


def test_the_mix_has_the_share_and_names_its_texts() -> None:
    mix = replay(old(), new(), 0.2, seed=1)
    assert len(mix) == 10
    assert mix["replayed"].sum() == 2
    licences = mix.group_by("replayed", "licence").len().sort("replayed").rows()
    assert licences == [(False, "CC-BY-4.0", 8), (True, "CC0-1.0", 2)]
    assert set(mix.filter("replayed")["id"]) < set(old()["id"])
    assert set(mix.filter(~pl.col("replayed"))["id"]) == set(new()["id"])


def test_the_mix_is_the_same_for_the_same_seed_in_any_order() -> None:
    mix = replay(old(), new(), 0.5, seed=1)
    assert mix.equals(replay(old().reverse(), new().reverse(), 0.5, seed=1))
    assert not mix.equals(replay(old(), new(), 0.5, seed=2))


def test_an_example_learned_anew_is_not_replayed() -> None:
    mix = replay(pl.concat([old(), new()]), new(), 0.9, seed=1)
    assert mix["id"].is_unique().all()
    assert set(mix.filter("replayed")["id"]) == set(old()["id"])


def test_mixes_that_are_refused() -> None:
    with pytest.raises(train.TrainingError, match=r"`share` is 1\.0"):
        replay(old(), new(), 1.0, seed=1)
    with pytest.raises(train.TrainingError, match="no new example"):
        replay(old(), new(0), 0.5, seed=1)
    for one, other in ((old_test(), new()), (old(), old_test())):
        with pytest.raises(train.TrainingError, match=r"4 of the .* examples are not for training"):
            replay(one, other, 0.5, seed=1)


def test_training_on_learns_the_new_and_keeps_the_old(
    tiny_folder: Path, home: Path, tmp_path: Path
) -> None:
    content = (home / "adapter" / "adapter_model.safetensors").read_bytes()
    done = go_on(tiny_folder, home, tmp_path)
    assert (home / "adapter" / "adapter_model.safetensors").read_bytes() == content
    total = done.forgetting.row(-1, named=True)
    assert (total["source"], total["articles"], total["examples"]) == ("all", 4, 4)
    assert total["change"] <= 0.05
    unseen = new(12).tail(4)
    now = answer_losses(done.training.model, unseen, max_length=128)["adapter"].mean()
    earlier = load_adapter(home / "adapter")
    assert now < answer_losses(earlier, unseen, max_length=128)["adapter"].mean()
    # What is called `before` is the earlier adapter's loss, measured on its own.
    alone = answer_losses(earlier, old_test(), max_length=128)
    assert done.losses["before"].to_list() == pytest.approx(alone["adapter"].to_list(), abs=1e-4)
    assert list(done.training.model.model.peft_config) == ["default"]


def test_forgetting_too_much_is_an_error_that_changes_nothing(
    tiny_folder: Path, home: Path, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for p in (home / "adapter").iterdir()}
    with pytest.raises(train.TrainingError, match="The adapter forgot too much") as error:
        go_on(tiny_folder, home, tmp_path, share=0, epochs=6, learning_rate=3e-2)
    assert "larger `share`" in str(error.value)
    assert "lower `learning_rate`" in str(error.value)
    assert "4 held-out articles" in str(error.value)
    assert {p: p.read_bytes() for p in (home / "adapter").iterdir()} == before


def test_a_kept_successor_names_its_parent_and_what_it_learned(
    tiny_folder: Path, home: Path, tmp_path: Path
) -> None:
    done = go_on(tiny_folder, home, tmp_path, epochs=0.5, max_forgetting=9)
    settings = tiny_run.config(tiny_folder, epochs=0.5)
    train.save_adapter(done.training, settings, done.data, {}, tmp_path / "next")
    versions = Versions(tmp_path)
    parent = versions.keep(home / "adapter")
    child = versions.keep(tmp_path / "next", parent=parent, losses=done.training.losses)
    found = versions.compare(parent, child)
    assert found.added == sorted(new()["id"])
    assert len(found.removed) == 8  # half of the mix is replayed
    assert found.weights["relative"].max() > 0.01
    assert len(found.weights) == 14


def test_what_cannot_be_measured_is_said_before_training(
    tiny_folder: Path, home: Path, tmp_path: Path
) -> None:
    settings = tiny_run.config(tiny_folder)
    rest = (old().head(0), old_test(), settings, tmp_path / "checkpoints")
    one = (rest[0], old_test().head(1), *rest[2:])
    with pytest.raises(train.TrainingError, match="covers 1 article"):
        train_on(home / "adapter", new(), *one, max_forgetting=1)
    with pytest.raises(train.TrainingError, match="Test example x:200/key_points/0 is among"):
        train_on(home / "adapter", old_test(), *rest, max_forgetting=1)
    assert not (tmp_path / "checkpoints").exists()


def test_change_is_paired_over_articles_and_given_per_source() -> None:
    rows = [
        ("a:1", "a", 1.0, 1.5),
        ("a:1", "a", 1.0, 1.7),  # the same article counts once, with its mean
        ("a:2", "a", 2.0, 2.2),
        ("b:1", "b", 3.0, 2.0),
    ]
    losses = pl.DataFrame(rows, schema=["article", "source", "before", "after"], orient="row")
    table = change(losses)
    assert table["source"].to_list() == ["a", "b", "all"]
    assert table["articles"].to_list() == [2, 1, 3]
    assert table["examples"].to_list() == [3, 1, 4]
    assert table["change"].to_list() == pytest.approx([0.4, -1.0, (0.6 + 0.2 - 1.0) / 3])
    # Two values 0.2 apart from their mean: t(0.975, 1) = 12.706 times 0.2.
    assert table["high"][0] == pytest.approx(0.4 + 12.706 * 0.2, abs=1e-3)
    assert table["low"].is_null().to_list() == [False, True, False]
    figure = forgetting_figure(table, 0.1)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["all", "b", "a"]


def test_the_interval_is_students() -> None:
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, high - mean) == (2.0, pytest.approx(4.3027 / math.sqrt(3), abs=1e-3))
    assert mean - low == pytest.approx(high - mean)
