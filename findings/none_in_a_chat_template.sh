#!/usr/bin/env bash
# transformers 5.23.0: a key of a message whose value is None is gone before the chat template sees the message.
#
# Messages with tool calls have `content: null` in OpenAI's format, and templates ask for that: `if message.content is
# not none`. Expected: the question is answered as asked, as transformers 4.57.6 does. Seen: the key is undefined, which
# is not none, so the template takes the other branch and renders an empty content; `is none` is never true.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

rendered() { # VERSION: what the template makes of a message without content
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check "transformers==$1" jinja2==3.1.6
    "$folder/$1/bin/python" - 2>/dev/null <<'EOF'
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
template = "{% for m in messages %}<{{ m.role }}>{% if m.content is not none %}text: {{ m.content }}{% endif %}{% endfor %}"
call = {"type": "function", "function": {"name": "now", "arguments": {}}}
message = {"role": "assistant", "content": None, "tool_calls": [call]}
print(tokenizer.apply_chat_template([message], chat_template=template, tokenize=False))
EOF
}

before=$(rendered 4.57.6)
now=$(rendered 5.23.0)
echo "4.57.6: $before"
echo "5.23.0: $now"
[ "$before" = "<assistant>" ] && [ "$now" = "<assistant>text: " ]
