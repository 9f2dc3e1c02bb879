"""Load and run the language model that train, evaluate and serve share."""

from elara.model.base import (
    TRAINING_FILE,
    WEIGHTS_FILE,
    LanguageModel,
    choose_precision,
    load_adapter,
    load_base,
    load_tokenizer,
    quiet_libraries,
    split_revision,
)
from elara.model.chat import Encoded, ModelError, encode
from elara.model.generation import SYSTEM_PROMPT, Generation, generate
from elara.model.packaged import PACKAGED, packaged_folder
