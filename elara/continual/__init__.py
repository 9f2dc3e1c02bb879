"""Train on from an earlier adapter without forgetting, tune on preferences, and keep versions."""

from elara.continual.feedback import answers, read_preferences
from elara.continual.forgetting import Continued, change, forgetting_figure, replay, train_on
from elara.continual.preference import Preferred, margin_figure, prefer
from elara.continual.saving import save_preferred, write_preference_passport
from elara.continual.trainers import PreferenceConfig
from elara.continual.versions import Versions
