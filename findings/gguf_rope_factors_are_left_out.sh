#!/usr/bin/env bash
# transformers 5.23.0: a Llama GGUF file is loaded without the factors of its positions' frequencies.
#
# Expected: `rope_freqs.weight`, by which Llama 3.1 and later divide the frequencies of rotary embeddings (converters
# write their long-context scaling there and nowhere else), changes what the model computes, or loading says that it is
# left out. Seen: logits are the same with the tensor and without, the settings say `rope_type: default`, and nothing is
# printed; with the frequencies divided by hand they differ.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
"$folder/env/bin/python" - "$folder" 2>/dev/null <<'EOF'
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
WIDTH, HEADS, INNER, WORDS = 32, 2, 64, 64
FACTORS = np.linspace(1, 8, WIDTH // HEADS // 2, dtype=np.float32)


def load(name, factors):
    draw = np.random.default_rng(0)
    writer = gguf.GGUFWriter(folder / name, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"w{number}" for number in range(WORDS)])
    square, wide = (WIDTH, WIDTH), (INNER, WIDTH)
    shapes = {"token_embd": (WORDS, WIDTH), "output": (WORDS, WIDTH)}
    shapes |= {f"blk.0.attn_{part}": square for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": wide, "blk.0.ffn_up": wide, "blk.0.ffn_down": wide[::-1]}
    for tensor, shape in shapes.items():
        writer.add_tensor(f"{tensor}.weight", draw.normal(scale=0.3, size=shape).astype(np.float32))
    for tensor in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{tensor}.weight", np.ones(WIDTH, dtype=np.float32))
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name).eval()


ids = torch.arange(3, 43)[None]
with torch.no_grad():
    plain, scaled = load("plain.gguf", None), load("scaled.gguf", FACTORS)
    without, loaded = plain(ids).logits, scaled(ids).logits
    scaled.model.rotary_emb.inv_freq /= torch.from_numpy(FACTORS)
    meant = scaled(ids).logits
print("settings:", scaled.config.rope_parameters)
print(f"with the tensor, off the same without it: {float((loaded - without).abs().max()):.6f}")
print(f"with its factors, off what was loaded:    {float((meant - loaded).abs().max()):.6f}")
sys.exit(not (torch.equal(loaded, without) and float((meant - loaded).abs().max()) > 0.01))
EOF
