
fail() {
    printf 'prepare.sh: %s\n' "$1" >&2
    exit 2
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
readonly almr="${ALMR:-almr}"
command -v "$almr" > /dev/null ||
    fail "almr is not on PATH: pip install -e CHECKOUT in an environment of its own, and set ALMR to its bin/almr"

