"""Train on from an earlier adapter without forgetting; keep versions."""

from elara.continual.continue_training import Continued, change, forgetting_figure, replay, train_on
from elara.continual.feedback import read_preferences, split_by_prompt
from elara.continual.margins import margin_figure
from elara.continual.preference import PreferenceConfig, Preferred, prefer
from elara.continual.preference_passport import write_preference_passport
from elara.continual.preference_save import save_preferred
from elara.continual.versions import Versions

__all__ = [
    "Continued",
    "PreferenceConfig",
    "Preferred",
    "Versions",
    "change",
    "forgetting_figure",
    "margin_figure",
    "prefer",
    "read_preferences",
    "replay",
    "save_preferred",
    "split_by_prompt",
    "train_on",
    "write_preference_passport",
]
