#!/usr/bin/env bash
# pytest 9.2.0 meets pytest-xdist 3.8.0 (both the newest on 2026-11-29): `--dist loadgroup` no longer keeps the tests of
# one `xdist_group` on one worker, although neither says a word; with pytest 8.4.2 it does.
#
# Expected (xdist's documentation of loadgroup): all tests that carry the same group name run on the same worker.
# Seen with pytest 9.2.0: the tests of each group run on both workers, so that fixtures of a module are made twice, and
# tests that a group was to keep apart from each other in time meet.
#
# Exits 0 while that is so, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/test_groups.py" <<'EOF'
import os
import time

import pytest


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("group", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("one", "two")])
def test_group(group, number):
    time.sleep(0.05)
    with open("workers.txt", "a") as file:
        file.write(f"{group} {os.environ['PYTEST_XDIST_WORKER']}\n")
EOF

workers_of_a_group() { # PYTEST_VERSION: the largest number of workers that one group ran on
    python3 -m venv "$folder/env-$1"
    "$folder/env-$1/bin/python" -m pip install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
    rm -f "$folder/workers.txt"
    (cd "$folder" && "env-$1/bin/python" -m pytest -q -n 2 --dist loadgroup -p no:cacheprovider test_groups.py >&2)
    sort -u "$folder/workers.txt" | cut -d' ' -f1 | uniq -c | awk '{ if ($1 > most) most = $1 } END { print most }'
}

before=$(workers_of_a_group 8.4.2)
now=$(workers_of_a_group 9.2.0)
echo "workers that ran one group: $before with pytest 8.4.2, $now with pytest 9.2.0 (pytest-xdist 3.8.0, 2 workers)"
[ "$before" = 1 ] && [ "$now" = 2 ]
