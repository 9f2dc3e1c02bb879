#!/usr/bin/env bash
# Install torch for one Python: `torch.sh PYTHON cpu|cuda`.
# cpu: the version in constraints-cpu.txt. On Linux the main index serves that version with gigabytes
# of CUDA libraries, so PyTorch's own index of CPU builds is asked too when it can be reached.
# cuda: the newest release that pyproject.toml allows, with CUDA.
set -euo pipefail
python=$1 kind=$2
here=$(cd "$(dirname "$0")/.." && pwd)
cpu_index=https://download.pytorch.org/whl/cpu
case $kind in
  cpu)
    extra=()
    if "$python" - "$cpu_index" 2>/dev/null <<'PY'
import sys, urllib.request
urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=5)
PY
    then extra=(--extra-index-url "$cpu_index"); fi
    "$python" -m pip install --quiet "${extra[@]}" -c "$here/constraints-cpu.txt" torch
    ;;
  cuda) "$python" -m pip install --quiet --upgrade "torch>=2.11" ;;
  *) echo "TORCH=$kind: use cpu or cuda"; exit 1 ;;
esac
