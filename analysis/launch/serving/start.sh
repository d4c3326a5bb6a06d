
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
