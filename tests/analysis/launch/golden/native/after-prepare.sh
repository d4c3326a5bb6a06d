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

# model: a link to the folder that ALMR_SFT_MODEL names, else to the model that the launch left.
if [[ -n "${ALMR_SFT_MODEL:-}" || ! -f model/config.json ]]; then
    left="${ALMR_SFT_MODEL:-${ALMR_CHECKPOINTS:-$PWD/../../..}/checkpoints-llama3-8b-zh-native-9936691b/trials/almr=0.40_lr=2e-05_seed=3/model}"
    [[ -n "$left" ]] || fail "set ALMR_SFT_MODEL to the folder of the model that stage sft continues from: the model that the launch left"
    [[ "$left" == /* ]] || left="$OLDPWD/$left"
    [[ -f "$left/config.json" ]] || fail "$left holds no model: set ALMR_SFT_MODEL to the folder of the model that stage sft continues from: the model that the launch left"
    [[ model -ef "$left" ]] || ln -sfT -- "$(cd -- "$left" && pwd -P)" model || [[ model -ef "$left" ]]
fi
"$almr" prepare study.yaml --json > prepared.json.unfinished
mv prepared.json.unfinished prepared.json
printf 'prepared: prepared.json says what lies where\n'
