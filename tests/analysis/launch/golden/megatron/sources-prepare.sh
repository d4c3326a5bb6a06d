#!/usr/bin/env bash
# Packs the text that this launch trains and is evaluated on, into data/.
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

"$almr" pack study.yaml --format megatron --out data
