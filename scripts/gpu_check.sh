#!/usr/bin/env bash
# What only a GPU can show: the tests marked cuda, then how fast the large case is there. Ten minutes at most; it installs
# nothing where there is a Python with dfc's requirements (PYTHON=...). The figures belong into docs/scale.md, with the
# card's name.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
if ! "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "No CUDA device that torch can use: nothing is checked."
    exit 0
fi
nvidia-smi --query-gpu=name,memory.total,memory.used,driver_version --format=csv,noheader || true
timeout 300 "$PYTHON" -m pytest -m cuda tests/test_cuda.py
timeout 300 "$PYTHON" -m dfc bench gpu "$@"
