"""Files that nothing records: they grow, or come and go, while Elara works. Each has its reason."""

from __future__ import annotations

import re

_LOG = "a log: it grows while a run goes on, and no result is read from it"
_LOCK = "a lock, or who held it"
_DRAFT = "a draft of a run that is going on or was interrupted: no result until it is finished"
_TRAINING = "checkpoints and trials of training: what came of them is in the adapter"
_CURVES = "a tracker's curves: the losses themselves are in losses.parquet"
_RESTORING = "an adapter half restored: the next use of the versions finishes it"
_EDITOR = "a copy that JupyterLab keeps"
_LAB = "a working copy of a notebook, to be changed in JupyterLab"
_SETTINGS = "what the next run will use: what each stage did use is in its manifest"

_REASONS = {
    r"logs/[^/]+\.log": _LOG,
    r"logs/[^/]+\.(lock|owner)": _LOCK,
    r"(.+/)?versions/\.lock(\.owner)?": _LOCK,
    r"(.+/)?exports/\.export/lock(\.owner)?": _LOCK,
    r"raw/payloads/(\.until|\.harvest\.(lock|owner))": _LOCK,
    r"raw/payloads/[^/]+/[^/]+\.part": _DRAFT,
    r"(.+/)?\.partial/.+": _DRAFT,
    r"(.+/)?versions/\.keeping/.+": _DRAFT,
    r"(.+/)?exports/\.export/drafts/.+": _DRAFT,
    r"notebooks/\.[^/]+\.ipynb": _DRAFT,
    r"(.+/)?\.[^/]+\.\d+": _DRAFT,  # what `write_atomically` was killed in
    r"lora_adapters/\.(checkpoints|sweep|job)/.+": _TRAINING,
    r"lora_adapters/curves/.+": _CURVES,
    r"lora_adapters/(\.(restoring|replaced)/.+|\.restoring\.json)": _RESTORING,
    r"notebooks/\.ipynb_checkpoints/.+": _EDITOR,
    r"lab/.+": _LAB,
    r"parameters\.json": _SETTINGS,
}


def why_unchecked(path: str) -> str:
    """Why nothing says what a file should be; "" where something should.

    Args:
        path: the file, below the workspace.
    """
    matching = (why for form, why in _REASONS.items() if re.fullmatch(form, path, re.DOTALL))
    return next(matching, "")
