#!/usr/bin/env bash
# transformers 5.23.0: of GGUF files of Gemma 2 and Gemma 3 with 27 billion weights, attention is not scaled as trained.
#
# Expected: the scale of the queries of these two is one over the root of width / heads (144 and 168; so it stands as
# `query_pre_attn_scalar` in the settings that are published with their safetensors). No GGUF header has a key for it;
# llama.cpp, for which the files are made, tells these two by their 46 and 62 blocks and scales them so (pull requests
# 8197, 8444 and 13951 there). Seen: the settings made of the file have the class's default, 256, as the smaller ones
# rightly do, so that all scores of attention are multiplied by 0.75 and 0.81; nothing is printed.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 gguf==0.19.0
"$folder/env/bin/python" - "$folder" 2>"$folder/said" <<'EOF'
import sys
from pathlib import Path

import gguf
import numpy as np
from transformers import AutoConfig

folder = Path(sys.argv[1])
WORDS, HEAD, HEADS = 64, 128, 32
same = True
for kind, blocks, width, trained in (("gemma2", 46, 4608, 144), ("gemma3", 62, 5376, 168)):
    writer = gguf.GGUFWriter(folder / f"{kind}.gguf", kind)
    writer.add_context_length(8192)
    writer.add_embedding_length(width)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(4 * width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_sliding_window(1024)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"w{number}" for number in range(WORDS)])
    writer.add_tensor("output_norm.weight", np.zeros(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = AutoConfig.from_pretrained(folder, gguf_file=f"{kind}.gguf")
    times = (trained / read.query_pre_attn_scalar) ** 0.5
    print(f"{kind}, {read.num_hidden_layers} blocks, {read.hidden_size} wide, {read.num_attention_heads} heads: "
          f"trained with {trained}, settings say {read.query_pre_attn_scalar}: scores times {times:.2f}")
    same &= (read.num_hidden_layers, read.hidden_size // read.num_attention_heads) == (blocks, trained)
    same &= read.query_pre_attn_scalar == 256
sys.exit(not same)
EOF
