"""Stage 5: train a LoRA adapter on the examples, with the loss on the answers alone."""

from elara.train.audit.card import embedded_card, model_card
from elara.train.audit.certificate import Certificate, certify
from elara.train.audit.passport import with_verdict, write_passport
from elara.train.audit.verify import Verification, verify
from elara.train.config import (
    REASONS,
    REFERENCE,
    TARGETS,
    TrainingConfig,
    TrainingError,
    differences,
)
from elara.train.continual.continue_training import (
    Continued,
    change,
    forgetting_figure,
    replay,
    train_on,
)
from elara.train.continual.versions import Versions
from elara.train.data import TokenData, choose_batching, masked_html, tokenise
from elara.train.devices.launch import finished, launch, write_job
from elara.train.estimate import Estimate, estimate
from elara.train.exports.bounds import BOUNDS, Bound
from elara.train.exports.drafts import ExportError
from elara.train.exports.export import Exported, export
from elara.train.exports.parity import ParityError
from elara.train.fit import Training, fit
from elara.train.lora import Summary, add_lora, optimiser, summary
from elara.train.memory import count_memory, what_to_change
from elara.train.preferences.feedback import read_preferences, split_by_prompt
from elara.train.preferences.margins import margin_figure
from elara.train.preferences.preference import PreferenceConfig, Preferred, prefer
from elara.train.preferences.preference_passport import write_preference_passport
from elara.train.preferences.preference_save import save_preferred
from elara.train.report import loss_figure
from elara.train.save import save_adapter
from elara.train.sweep import Sweep, sweep, sweep_figure

__all__ = [
    "BOUNDS",
    "REASONS",
    "REFERENCE",
    "TARGETS",
    "Bound",
    "Certificate",
    "Continued",
    "Estimate",
    "ExportError",
    "Exported",
    "ParityError",
    "PreferenceConfig",
    "Preferred",
    "Summary",
    "Sweep",
    "TokenData",
    "Training",
    "TrainingConfig",
    "TrainingError",
    "Verification",
    "Versions",
    "add_lora",
    "certify",
    "change",
    "choose_batching",
    "count_memory",
    "differences",
    "embedded_card",
    "estimate",
    "export",
    "finished",
    "fit",
    "forgetting_figure",
    "launch",
    "loss_figure",
    "margin_figure",
    "masked_html",
    "model_card",
    "optimiser",
    "prefer",
    "read_preferences",
    "replay",
    "save_adapter",
    "save_preferred",
    "split_by_prompt",
    "summary",
    "sweep",
    "sweep_figure",
    "tokenise",
    "train_on",
    "verify",
    "what_to_change",
    "with_verdict",
    "write_job",
    "write_passport",
    "write_preference_passport",
]
