#!/bin/sh
# Trains and scores sparrow-tiny in one go on the GPUs that CUDA_VISIBLE_DEVICES leaves visible:
#   scripts/train/lm/run.sh RUN PACK OUT SECONDS [RESUME]
# RUN is 0 to 8, PACK a folder written by pack.sh, OUT receives weights, log and scores. All ends within SECONDS; of these
# SCORING are left for the scores (0: none). NEAR: another price on attention that goes far than the run's.
set -eu
run=$1 pack=$2 out=$3 total=$4 resume=${5:-}
began=$(date +%s)
export TORCHINDUCTOR_COMPILE_THREADS=8 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=4 PYTHONUNBUFFERED=1
if [ "$run" = 0 ]; then scoring=60 answers=16 lengths=4096,32768; else
  scoring=80 answers=32 lengths=4096,32768,16384,131072; fi
scoring=${SCORING:-$scoring}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m tarfile -e "$pack/texts.tar.xz" "$work"
status=0
python3 -m scripts.train.lm.train --config "${CONFIG:-tiny}" --run "$run" --corpus "$pack/corpus.npz" \
  --tokenizer "$pack/tokenizer.json" --out "$out/weights" --seconds $((total - scoring)) \
  ${resume:+--resume "$resume"} ${DEVICES:+--devices "$DEVICES"} ${NEAR:+--near-penalty "$NEAR"} --workers "${WORKERS:-8}" \
  >"$out/train.log" 2>&1 || status=$?
tail -n 25 "$out/train.log"
left=$((total - $(date +%s) + began - 14))
if [ "$scoring" -gt 0 ] && [ -f "$out/weights/config.json" ] && [ "$left" -gt 15 ]; then
  python3 -m scripts.train.lm.evaluate --weights "$out/weights" --corpus "$pack/corpus.npz" --data "$work" \
    --tokenizer "$pack/tokenizer.json" --lengths "${LENGTHS:-$lengths}" --answers "$answers" --seconds "$left" \
    ${NO_TEXT:+--no-text} --json "$out/scores.json" || status=$?
fi
exit "$status"
