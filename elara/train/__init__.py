"""Stage 5: train a LoRA adapter on the examples, with the loss on the answers alone."""

from elara.display.figures import loss_figure
from elara.train.config import TARGETS, TrainingConfig, TrainingError, differences
from elara.train.data import TokenData, choose_batching, masked_html, tokenise
from elara.train.devices.launch import finished, launch, write_job
from elara.train.estimate import estimate
from elara.train.lora import add_lora, summary
from elara.train.save import save_adapter
from elara.train.sft import Training, fine_tune
from elara.train.sweep import sweep, sweep_figure
