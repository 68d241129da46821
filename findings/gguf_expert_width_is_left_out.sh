#!/usr/bin/env bash
# transformers 5.23.0: of a Qwen3 MoE GGUF file the width of its experts is not read.
#
# Expected: `qwen3moe.expert_feed_forward_length`, which every converted Qwen3 MoE model has (1,536 in the one of 235 B
# weights), becomes the settings' `moe_intermediate_size`. Seen: `moe_intermediate_size` is the default of the class,
# 768, whatever the file says; `feed_forward_length`, which no layer of such a model has, is read. So settings made of the
# file describe another model than its tensors are of, and nothing is printed.
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
from transformers import AutoConfig, Qwen3MoeConfig

folder = Path(sys.argv[1])
WIDTH, DENSE, EXPERT, EXPERTS, WORDS = 32, 96, 48, 4, 64
writer = gguf.GGUFWriter(folder / "experts.gguf", "qwen3moe")
writer.add_context_length(4096)
writer.add_embedding_length(WIDTH)
writer.add_block_count(1)
writer.add_feed_forward_length(DENSE)
writer.add_expert_feed_forward_length(EXPERT)
writer.add_expert_count(EXPERTS)
writer.add_expert_used_count(2)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_key_length(16)
writer.add_layer_norm_rms_eps(1e-6)
writer.add_rope_freq_base(1_000_000.0)
writer.add_vocab_size(WORDS)
writer.add_tokenizer_model("gpt2")
writer.add_token_list([f"w{number}" for number in range(WORDS)])
writer.add_tensor("blk.0.ffn_up_exps.weight", np.zeros((EXPERTS, EXPERT, WIDTH), dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

read = AutoConfig.from_pretrained(folder, gguf_file="experts.gguf")
print(f"file:     experts {EXPERT} wide, {EXPERTS} of them, dense {DENSE}")
print(f"settings: experts {read.moe_intermediate_size} wide, {read.num_experts} of them, dense {read.intermediate_size}")
print(f"default:  experts {Qwen3MoeConfig().moe_intermediate_size} wide")
same = read.moe_intermediate_size == Qwen3MoeConfig().moe_intermediate_size != EXPERT
sys.exit(not (same and read.num_experts == EXPERTS and read.intermediate_size == DENSE))
EOF
