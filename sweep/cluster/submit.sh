#!/usr/bin/env bash
# Runs a study on an existing Ray cluster, from any machine that reaches its dashboard:
#
#   RAY_API_SERVER_ADDRESS=http://HEAD:8265 ALMR_CACHE=/shared/cache ALMR_RUNS=/shared/runs submit.sh /shared/study.yaml
#
# The study file and ALMR_CACHE must be on storage that every node sees; so must ALMR_RUNS, unless it is an address such
# as s3://bucket/runs. Ctrl-C ends only the log output; `ray job stop` stops the run, and the same command resumes it.
set -euo pipefail

: "${RAY_API_SERVER_ADDRESS:?the dashboard of the cluster, http://HEAD:8265}"
: "${ALMR_CACHE:?a folder that every node sees}"
: "${ALMR_RUNS:?a folder that every node sees, or s3://bucket/folder}"
study=${1:?usage: submit.sh STUDY}

absolute() {  # the job starts in a folder of Ray's own. This machine may have another realpath, as macOS
  if [[ $1 == *://* || $1 == /* ]]; then printf '%s' "$1"; else realpath --canonicalize-missing --no-symlinks -- "$1"; fi
}
if [[ $study == */* || -f $study ]]; then study=$(absolute "$study"); fi  # else the name of a study that almr brings
ALMR_CACHE=$(absolute "$ALMR_CACHE") ALMR_RUNS=$(absolute "$ALMR_RUNS")

# No --working-dir: `almr run` stages its workers' code, and Ray would use one working directory for both.
exec ray job submit --address "$RAY_API_SERVER_ADDRESS" -- \
  env "ALMR_CACHE=$ALMR_CACHE" almr run "$study" --runs "$ALMR_RUNS" --address auto
