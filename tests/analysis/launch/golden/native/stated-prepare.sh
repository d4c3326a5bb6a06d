#!/usr/bin/env bash
# Downloads, tokenises and packs what this launch trains on into the cache of almr: no GPU waits for it.
# ALMR_CACHE (and HF_HOME) have to be folders that the nodes see too, and are set alike for start.sh.
# Run it once, on a machine that sees this folder, the corpora and the model; it needs no GPU.
# ALMR: the command almr, where it is not on PATH.
set -euo pipefail

fail() {
    printf 'prepare.sh: %s\n' "$1" >&2
    exit 2
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
readonly almr="${ALMR:-almr}"
command -v "$almr" > /dev/null ||
    fail "almr is not on PATH: pip install -e CHECKOUT in an environment of its own, and set ALMR to its bin/almr"

"$almr" prepare study.yaml --json > prepared.json.unfinished
mv prepared.json.unfinished prepared.json
printf 'prepared: prepared.json says what lies where\n'
