#!/usr/bin/env bash
# Serves a model by vLLM 0.33.0. README.md says what was chosen, and by what arithmetic.
# ALMR_API_KEY is the key that clients have to give. ALMR_HOST and ALMR_PORT: where it listens, by default this
# machine alone, 127.0.0.1:8000. Arguments go on to vllm serve.
set -euo pipefail

readonly model=meta-llama/Llama-3.1-8B
readonly version=0.33.0
arguments=(
    --served-model-name=meta-llama/Llama-3.1-8B
    --dtype=bfloat16
    --tensor-parallel-size=1
    --pipeline-parallel-size=1
    --max-model-len=8192
    --max-num-seqs=21
    --max-num-batched-tokens=2048
    --gpu-memory-utilization=0.9
    --middleware=guard.KeyGuard
)

fail() {
    printf 'start.sh: %s\n' "$1" >&2
    exit 2
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
command -v vllm > /dev/null ||
    fail "vllm is not on PATH: pip install vllm==$version in an environment of its own, and activate it"

readonly host="${ALMR_HOST:-127.0.0.1}" port="${ALMR_PORT:-8000}"
key="${ALMR_API_KEY:-${VLLM_API_KEY:-}}"
unset VLLM_API_KEY ALMR_API_KEY
if [[ -n "$key" ]]; then
    export VLLM_API_KEY="$key"
elif [[ "$host" != 127.0.0.1 && "$host" != localhost && "$host" != ::1 ]]; then
    fail "ALMR_HOST is $host, which others reach: set ALMR_API_KEY to the key that clients have to give"
fi
# guard.py beside this script asks for the key on the paths that vLLM leaves open.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

printf 'Serving at http://%s:%s/v1; it loads 16.1 GB of weights a node first\n' "$host" "$port"
exec vllm serve "$model" "${arguments[@]}" "--host=$host" "--port=$port" "$@"
