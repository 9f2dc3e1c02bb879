"""The guides do what they say: every block runs as typed, from the top of its page to the end.

A page has a folder of its own, which looks like the project after a run with a tiny model. What
costs hours, or another program, is not run but checked, and is listed here with the reason.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import guides
import polars as pl
import pytest
import synthetic_preferences
import tiny_run
import typer
import yaml

from elara import audit, pipeline, serve, train
from elara.model import load_base
from elara.model.packaged import PACKAGED, packaged_folder
from elara.pipeline import lab, notebooks
from elara.train.devices import launch
from elara.workspace import Workspace, check_parameters
from elara.workspace.parameters import PATHS

# Why not, for each program whose commands are checked and not run, or kind of block.
WHY_NOT = {
    "make": "installs, or takes minutes to hours; `make -n` says what it would do: that is checked",
    "elara run": "up to the first notebook: tests/pipeline and `make nbval` run those",
    "elara lab": "would wait in JupyterLab: tests/pipeline looks at the copies it opens",
    "elara serve": "would wait for questions: tests/serve asks them",
    "papermill": "notebook and parameters: tests/notebooks runs papermill",
    "python": "benchmarks take up to an hour: file and options",
    "launch": "four processes: tests/train/test_train_launch.py runs two",
    "accelerate": "the same: its own parser reads the options, the job is there",
    "torchrun": "the same",
    "srun": "needs a cluster; what it starts is checked",
    "scontrol": "the same",
    "conda": "another program: the file that it is given is there",
    "tensorboard": "would wait for a browser: the folder is there",
    "llama-cli": "another program: the model's file is there",
    "llama-server": "the same",
    "ollama": "the same",
    "vllm": "needs a GPU: the folder is a model or an adapter",
    "trtllm-serve": "needs a GPU: the folder is a model",
    "pip": "another program",
    "pre-commit": "would change this checkout: tests/test_project_files.py reads its settings",
    "ipython3": "a cell for Colab, with an address that is the reader's",
    "python3.11": "the interpreter, before anything is installed",
    "console": "on another system",
    "powershell": "the same",
    "text": "a picture of a folder, a file that tests/serve reads, or acts on a running server",
