#!/usr/bin/env bash
# transformers 5.23.0, Moshi: without a cache the attention window (`sliding_window`) is not applied.
#
# Expected: a cache changes how fast a model writes, not what; greedy generation gives the same tokens either way, as
# Mistral's does with the same window. Seen: with a window of 8 (random weights, 12 tokens read, 12 written) Moshi writes
# something else without a cache: what it writes with a window of 64, which covers everything. So a plain forward pass
# over a long text is not what the model does when it generates.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$folder/env/bin/python" - 2>/dev/null <<'EOF'
import sys

import torch
from transformers import MistralConfig, MistralForCausalLM, MoshiConfig, MoshiForCausalLM

COMMON = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON |= {"num_key_value_heads": 4, "max_position_embeddings": 256, "initializer_range": 0.3}


def written(kind, settings, window):
    torch.manual_seed(0)
    model = kind(settings(**COMMON, sliding_window=window)).eval()
    ids = torch.arange(3, 15)[None]
    fixed = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return [model.generate(ids, use_cache=cache, **fixed)[0, 12:].tolist() for cache in (True, False)]


moshi, wide = (written(MoshiForCausalLM, MoshiConfig, window) for window in (8, 64))
mistral = written(MistralForCausalLM, MistralConfig, 8)
print("Mistral, window 8: the same with and without a cache:", mistral[0] == mistral[1])
print("Moshi, window 8, with a cache:   ", moshi[0])
print("Moshi, window 8, without a cache:", moshi[1])
print("Moshi, window 64:                ", wide[0])
sys.exit(not (mistral[0] == mistral[1] and moshi[0] != moshi[1] == wide[0] == wide[1]))
EOF
