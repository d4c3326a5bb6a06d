#!/usr/bin/env bash
# NOT TRIED: no parity run shows that this trainer trains as the trials did (almr export RUN --parity)
# Continual pre-training of meta-llama/Meta-Llama-3-70B with Megatron-LM (core 0.16).
# Ratio and LR are from the study llama3-8b-zh. Run start.sh on every node.
# Read ../GO.md and the warnings in ../README.md first.
#
# Ratio: ALMR 0.40 is a share of tokens, and so are the weights of --train-data-path: ['0.6', 'data/train_original', '0.4', 'data/train_additional'].
# Steps: 2,384 x 4,194,304 tokens = 9,999,220,736 tokens (779,264 fewer than launch.tokens, 10,000,000,000)
# Starts the launch with Megatron-LM. Run it on every node.
# MEGATRON: its checkout, by default ~/Megatron-LM. Arguments override megatron_args.txt: start.sh --log-interval 1
# Checkpoints go below ALMR_CHECKPOINTS, a folder that all nodes share; by default ../.. from here.
# Run it again to go on from the newest one. After a failure it does so by itself, up to ALMR_RESTARTS times.
set -euo pipefail

readonly model=meta-llama/Meta-Llama-3-70B
readonly settings=megatron_args.txt
readonly nodes=16
readonly gpus=8
readonly restarts=3
readonly processes=8
[[ -z "${ALMR_CHECKPOINTS:-}" || "$ALMR_CHECKPOINTS" == /* ]] || ALMR_CHECKPOINTS="$PWD/$ALMR_CHECKPOINTS"
readonly checkpoints="${ALMR_CHECKPOINTS:-../..}"/checkpoints-llama3-8b-zh-megatron-6f9a1475

fail() {
    printf 'start.sh: %s\n' "$1" >&2
    exit 2
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
export MEGATRON="${MEGATRON:-${HOME:-}/Megatron-LM}"
[[ -f "$MEGATRON/pretrain_gpt.py" ]] ||
    fail "$MEGATRON is not a checkout of Megatron-LM: set MEGATRON to its folder"
[[ -f data/blocks.json ]] ||
    fail "data has no packed text: run prepare.sh once"
[[ "$(< data/blocks.json)" == *"$(sha256sum < study.yaml | cut -c -64)"* ]] ||
    fail "data was packed before study.yaml was changed: run prepare.sh again"

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
mapfile -t arguments < megatron_args.txt
mapfile -t architecture < data/model_args.txt
export CUDA_DEVICE_MAX_CONNECTIONS=1
exec torchrun --nnodes="$NNODES" --nproc-per-node="$processes" --max-restarts="$ALMR_RESTARTS" \
    --rdzv-backend=c10d --rdzv-id=almr --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \
    --rdzv-conf="is_host=$((NODE_RANK == 0 ? 1 : 0))" --local-addr="$NODE_ADDR" \
    pretrain.py "${architecture[@]}" "${arguments[@]}" \
    --tensorboard-dir "$checkpoints/tensorboard" --load "$checkpoints" --save "$checkpoints" "$@"
