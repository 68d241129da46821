#!/usr/bin/env bash
# transformers 5.23.0 with peft 0.21.2: a merged model saved where its adapter lies is given the adapter a second time.
#
# Expected: a folder that holds whole weights (config.json, model.safetensors) loads as it was saved, or loading says
# that it holds two things. Seen: `from_pretrained` loads the merged weights and then applies the adapter of the same
# folder to them, without a word: the logits are those of neither the merged model nor the base. Training with PEFT
# writes an adapter into its output folder, and merging into that folder leaves the adapter's files beside the weights.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 peft==0.21.2
"$folder/env/bin/python" - "$folder" 2>/dev/null <<'EOF'
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

SHAPE = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
base, output, alone = (Path(sys.argv[1]) / name for name in ("base", "output", "alone"))

torch.manual_seed(0)
LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(base)
settings = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
adapted.save_pretrained(output)
merged = adapted.merge_and_unload().eval()
merged.save_pretrained(output)
merged.save_pretrained(alone)
ids = torch.arange(10)[None]


@torch.no_grad()
def off(path):
    loaded = AutoModelForCausalLM.from_pretrained(path).eval()
    return float((loaded(ids).logits - merged(ids).logits).abs().max())


print("files:", sorted(path.name for path in output.iterdir()))
beside, whole = off(output), off(alone)
print(f"off the merged model, saved alone: {whole:.6f}; saved where its adapter lies: {beside:.6f}")
sys.exit(not (whole == 0 and beside > 1e-3))
EOF
