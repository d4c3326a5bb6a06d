
for name in NODE_RANK MASTER_ADDR; do
    [[ -n "${!name:-}" ]] ||
        fail "$name is not set: on each of the $nodes nodes set NODE_RANK (0 to $((nodes - 1))) and MASTER_ADDR \
(the host of rank 0)"
done
if ! [[ "$NODE_RANK" =~ ^(0|[1-9][0-9]{0,5})$ ]] || ((NODE_RANK >= nodes)); then
    fail "NODE_RANK is $NODE_RANK: give each node its own, 0 to $((nodes - 1))"
fi
arguments+=("--node-rank=$NODE_RANK" "--master-addr=$MASTER_ADDR" "--master-port=${MASTER_PORT:-29500}")
if ((NODE_RANK > 0)); then
    printf 'Serving: node %s of %s, for the node at %s\n' "$NODE_RANK" "$nodes" "$MASTER_ADDR"
    exec vllm serve "$model" "${arguments[@]}" --headless "$@"
fi
