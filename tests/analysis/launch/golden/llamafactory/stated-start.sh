#!/usr/bin/env bash
# Starts the launch with LLaMA-Factory. Run it on every node.
# Arguments override llamafactory.yaml: start.sh max_steps=10
# Checkpoints go below ALMR_CHECKPOINTS, a folder that all nodes share; by default ../.. from here.
# Run it again to go on from the newest one. After a failure it does so by itself, up to ALMR_RESTARTS times.
set -euo pipefail

readonly model=meta-llama/Meta-Llama-3-70B
readonly settings=llamafactory.yaml
readonly nodes=16
readonly gpus=8
readonly restarts=3
readonly processes=8
[[ -z "${ALMR_CHECKPOINTS:-}" || "$ALMR_CHECKPOINTS" == /* ]] || ALMR_CHECKPOINTS="$PWD/$ALMR_CHECKPOINTS"
readonly checkpoints="${ALMR_CHECKPOINTS:-../..}"/checkpoints-llama3-8b-zh-llamafactory-6dd62153

fail() {
    printf 'start.sh: %s\n' "$1" >&2
    exit 2
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
command -v llamafactory-cli > /dev/null ||
    fail "llamafactory-cli is not on PATH: pip install llamafactory==0.9.5 deepspeed, or activate its environment"
[[ -f data/blocks.json ]] ||
    fail "data has no packed text: run prepare.sh once"
[[ "$(< data/blocks.json)" == *"$(sha256sum < study.yaml | cut -c -64)"* ]] ||
    fail "data was packed before study.yaml was changed: run prepare.sh again"
[[ ! -L data/model/config.json || -f data/model/config.json ]] ||
    fail "data/model/config.json leads to $(readlink data/model/config.json), which is not here: copy the model there"


if ((nodes == 1)); then
    : "${NNODES:=1}" "${NODE_RANK:=0}" "${MASTER_ADDR:=127.0.0.1}" "${MASTER_PORT:=0}" # 0: a free one
fi
for name in NNODES NODE_RANK MASTER_ADDR MASTER_PORT; do
    [[ -n "${!name:-}" ]] ||
        fail "$name is not set: on each of the $nodes nodes set NNODES=$nodes, NODE_RANK (0 to $((nodes - 1))), \
MASTER_ADDR (the host of rank 0) and MASTER_PORT"
done
# With another number of nodes the global batch would differ, and the LR was chosen for this one.
[[ "$NNODES" == "$nodes" ]] ||
    fail "NNODES is $NNODES, but $settings is for $nodes: set NNODES=$nodes, or export with other launch.nodes"
if ! [[ "$NODE_RANK" =~ ^(0|[1-9][0-9]{0,5})$ ]] || ((NODE_RANK >= nodes)); then
    fail "NODE_RANK is $NODE_RANK: give each node its own, 0 to $((nodes - 1))"
fi

: "${ALMR_RESTARTS:=$restarts}"
# The address of this node as the others reach it: that of the interface towards the first node.
readonly towards='import socket, sys
family, *_, there = socket.getaddrinfo(sys.argv[1], 9, type=socket.SOCK_DGRAM)[0]
with socket.socket(family, socket.SOCK_DGRAM) as unsent:
    unsent.connect(there)
    print(unsent.getsockname()[0])'
if [[ -z "${NODE_ADDR:-}" ]]; then
    NODE_ADDR=$MASTER_ADDR
    ((NODE_RANK == 0)) || NODE_ADDR=$(python -c "$towards" "$MASTER_ADDR") || NODE_ADDR=$(hostname)
fi
# A group that starts again takes a new store; in the old one it would find the addresses of ended processes.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

printf 'Training %s: node %s of %s, %s GPUs each\n' "$model" "$NODE_RANK" "$nodes" "$gpus"
# A checkpoint whose saving was cut off lacks its last file, and no run can go on from it.
if ((NODE_RANK == 0)); then
    for kept in "$checkpoints"/checkpoint-*/; do
        if [[ "$kept" =~ /checkpoint-[0-9]+/$ && -d "$kept" && ! -s "${kept}trainer_state.json" ]]; then
            printf 'start.sh: %s was cut off, and is removed\n' "$kept" >&2
            rm -rf -- "$kept"
        fi
    done
fi
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"
exec torchrun --nnodes="$NNODES" --nproc-per-node="$processes" --max-restarts="$ALMR_RESTARTS" \
    --rdzv-backend=c10d --rdzv-id=almr --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
    --rdzv-conf="is_host=$((NODE_RANK == 0 ? 1 : 0))" --local-addr="$NODE_ADDR" \
    -m llamafactory.launcher llamafactory.yaml output_dir="$checkpoints" "$@"
