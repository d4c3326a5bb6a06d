#!/usr/bin/env bash
# Submits a study to Slurm as two jobs: one without GPUs prepares the text, and one with GPUs starts once it is done.
#
#   ALMR_CACHE=/shared/cache ALMR_RUNS=/shared/runs slurm.sh /shared/study.yaml --nodes 4
#
# What follows the study are options of sbatch for the job with GPUs. Variables, all optional:
#
#   SBATCH_ACCOUNT                                        Slurm's own, for both jobs
#   SBATCH_PARTITION, SBATCH_QOS, SBATCH_TIMELIMIT        Slurm's own, for the job with GPUs
#   PREPARE_PARTITION, PREPARE_QOS, PREPARE_TIMELIMIT     the same for the job without
#   ALMR_CONTAINER, APPTAINER_BIND, ALMR_REQUEUES         see slurm.sbatch
set -euo pipefail

: "${ALMR_CACHE:?a folder that every node sees}"
: "${ALMR_RUNS:?a folder that every node sees, or s3://bucket/folder}"
study=${1:?usage: slurm.sh STUDY [OPTIONS OF sbatch]}
shift
if [[ $study == */* || -f $study ]]; then study=$(realpath --canonicalize-missing --no-symlinks -- "$study"); fi
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

options=(--parsable)
if [[ ${PREPARE_PARTITION:-} ]]; then options+=(--partition="$PREPARE_PARTITION"); fi
if [[ ${PREPARE_QOS:-} ]]; then options+=(--qos="$PREPARE_QOS"); fi
if [[ ${PREPARE_TIMELIMIT:-} ]]; then options+=(--time="$PREPARE_TIMELIMIT"); fi
prepare=$(env -u SBATCH_PARTITION -u SBATCH_QOS -u SBATCH_TIMELIMIT \
  sbatch "${options[@]}" "$here/prepare.sbatch" "$study")
echo "job ${prepare%%;*} prepares $study; the job with GPUs waits for it"

# --kill-on-invalid-dep: where preparing fails, the job with GPUs is removed instead of waiting for ever.
exec sbatch --dependency="afterok:${prepare%%;*}" --kill-on-invalid-dep=yes "$@" "$here/slurm.sbatch" "$study"
