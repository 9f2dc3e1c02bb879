#!/usr/bin/env bash
# Called by the first cell of each notebook on Google Colab, which brings its own torch.
set -euo pipefail
project=${1:-/content/elara}
[ -f "$project/pyproject.toml" ] || { echo "Put a checkout of Elara at $project first."; exit 1; }
cd "$project"
python -m pip install --quiet -e .
python -m pip install --quiet --no-deps --group model
python elara/serve/web/page/build.py
