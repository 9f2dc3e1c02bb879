"""Stage 5: train a LoRA adapter on the examples, with the loss on the answers alone."""

from elara.train.config import REFERENCE, TARGETS, TrainingConfig, TrainingError
from elara.train.data import TokenData, masked_html, tokenise
from elara.train.fit import Training, add_lora, fit
from elara.train.report import loss_figure
from elara.train.save import model_card, save_adapter

__all__ = [
    "REFERENCE",
    "TARGETS",
    "TokenData",
    "Training",
    "TrainingConfig",
    "TrainingError",
    "add_lora",
    "fit",
    "loss_figure",
    "masked_html",
    "model_card",
    "save_adapter",
    "tokenise",
]
