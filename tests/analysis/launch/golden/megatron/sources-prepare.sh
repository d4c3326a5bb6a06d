#!/usr/bin/env bash
# Prepares the data and the base checkpoint. Run it once, on one machine that sees this folder. MEGATRON: the
# checkout of Megatron-LM, by default ~/Megatron-LM; ALMR_MODEL: the folder of the model.
set -euo pipefail

readonly model=meta-llama/Meta-Llama-3-70B
readonly sets=(web code news books)
readonly append=(--append-eod)
readonly tensor=4
readonly pipeline=4

fail() {
    printf 'prepare.sh: %s\n' "$1" >&2
    exit 2
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
MEGATRON="${MEGATRON:-${HOME:-}/Megatron-LM}"
[[ -f "$MEGATRON/tools/preprocess_data.py" ]] ||
    fail "$MEGATRON is not a checkout of Megatron-LM: set MEGATRON to its folder"
weights="${ALMR_MODEL:-$model}"
[[ -f "$weights/config.json" ]] ||
    fail "$weights has no config.json: download the model and set ALMR_MODEL to its folder"

python write_jsonl.py corpora.json data
for set in "${sets[@]}"; do
    python "$MEGATRON/tools/preprocess_data.py" --input "data/$set.jsonl" --json-keys text \
        --output-prefix "data/$set" --tokenizer-type HuggingFaceTokenizer --tokenizer-model "$model" \
        "${append[@]}" --workers "$(nproc)"
done
python "$MEGATRON/tools/checkpoint/convert.py" --model-type GPT --loader llama_mistral --saver core \
    --checkpoint-type hf --model-size llama3 --load-dir "$weights" --save-dir base --tokenizer-model "$weights" \
    --target-tensor-parallel-size "$tensor" --target-pipeline-parallel-size "$pipeline" --bf16
