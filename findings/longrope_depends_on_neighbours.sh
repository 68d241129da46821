#!/usr/bin/env bash
# transformers 5.23.0, LongRoPE (Phi-3 and later): what a model says of a short text depends on the others in its batch.
#
# Expected: with an attention mask, a text's logits are the same alone and beside a longer one, as Llama's are. Seen: the
# frequencies of positions (`short_factor` or `long_factor`) are chosen once for a whole batch, by its longest text; a
# text of 12 tokens beside one of 40, where 16 is the boundary, gets other logits than alone. Beside a shorter one it
# gets the same.
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
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

SHAPE = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE |= {"num_key_value_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0, "initializer_range": 0.3}
LONG = {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}


def off(model, length):
    """How far the logits of a text of 12 tokens beside one of so many are from those that it gets alone."""
    ids = torch.zeros(2, max(12, length), dtype=torch.long)
    ids[0, :12], ids[1, :length] = torch.arange(3, 15), torch.arange(3, 3 + length)
    with torch.no_grad():
        beside = model(input_ids=ids, attention_mask=(ids > 0).long()).logits[0, :12]
        return float((beside - model(input_ids=ids[:1, :12]).logits[0]).abs().max())


torch.manual_seed(0)
plain = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
scaled = Phi3ForCausalLM(Phi3Config(**SHAPE, original_max_position_embeddings=16, rope_parameters=LONG)).eval()
for name, model in (("Llama", plain), ("Phi-3 with LongRoPE", scaled)):
    print(f"{name}: beside 8 tokens off by {off(model, 8):.6f}, beside 40 off by {off(model, 40):.6f}")
sys.exit(not (max(off(plain, 8), off(plain, 40), off(scaled, 8)) < 1e-4 and off(scaled, 40) > 0.01))
EOF
