#!/usr/bin/env bash
# nnsight 0.8.1 meets anyio 4.16.0 (both the newest on 2026-11-29): once nnsight is imported, anyio cannot be used any
# more in that process, unless its backend was loaded before; `import anyio.abc` before it is not enough. anyio loads
# its parts when they are first asked for.
#
# Expected: importing one library does not decide whether another works; `import anyio; anyio.run(main)` gives 1.
# Seen: with `import nnsight` before it, `TypeError: Attribute 'save' is missing its type annotation` from anyio's
# `TypedAttributeSet`, which looks at all public attributes of its subclasses: nnsight has added `save` to
# `object`, so every class has one. What stands on anyio (httpx, starlette, mcp, …) fails with it.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 nnsight==0.8.1 anyio==4.16.0

run() { # IMPORTS: what a program that imports these and then runs a coroutine ends with
    { "$folder/env/bin/python" - 2>&1 || true; } <<EOF | tail -1
$1


async def main():
    return 1


import anyio

print(anyio.run(main))
EOF
}

alone=$(run "")
after=$(run "import nnsight")
first=$(run "import anyio.abc
import nnsight")
echo "anyio alone: $alone"
echo "after nnsight: $after"
echo "nnsight after anyio.abc: $first"
[ "$alone" = 1 ] && [[ "$after" == TypeError*"'save'"* ]]
