#!/usr/bin/env bash
# Trains one trial with a trainer that takes flags: bash flags.sh REQUEST
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
asked=$1
field() {  # a field of the request, such as: field optimizer beta1
  python -c 'import functools, json, sys
value = functools.reduce(lambda part, name: part[name], sys.argv[2:], json.load(open(sys.argv[1])))
print(*value if isinstance(value, list) else [value])' "$asked" "$@"
}
if [ "$(field document_masking)" = True ]; then
  echo "this example does not keep documents apart" >&2
  exit 1
fi
field lr_by_step | tr ' ' '\n' > lrs.txt  # in the run's folder, in which the program is started
python "$here/flags.py" \
  --model "$(field model)" --rows "$(field rows)" --lrs lrs.txt --out model \
  --sequence-length "$(field sequence_length)" --batch "$(field batch_sequences)" \
  --micro-batch "$(field micro_batch_sequences)" --precision "$(field precision)" \
  --betas "$(field optimizer beta1)" "$(field optimizer beta2)" --epsilon "$(field optimizer epsilon)" \
  --weight-decay "$(field optimizer weight_decay)" --max-grad-norm "$(field optimizer max_grad_norm)"
cat > "$(field answer)" <<JSON
{"trainer": "flags.py 1",
 "steps": $(wc -l < lrs.txt),
 "tokens": {"original": $(field languages original tokens), "additional": $(field languages additional tokens)},
 "model": "$(field folder)/model"}
JSON
