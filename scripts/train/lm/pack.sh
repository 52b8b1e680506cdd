#!/bin/sh
# Makes the folder that run.sh reads, small enough to send to a machine without a network:
#   scripts/train/lm/pack.sh DATA PACK [MODEL]
# DATA is the data folder. MODEL is the GGUF file that training goes on from: the tokenizer is taken from there, since what
# one learns depends on the tasks of the day. PYTHON may name the interpreter.
set -eu
data=$1 pack=$2 model=${3:-} python=${PYTHON:-python3}
mkdir -p "$pack"
$python -m scripts.train.lm.tokenizer --data "$data" --size 4096 ${model:+--model "$model"} --out "$pack/tokenizer.json"
$python -m scripts.train.lm.prepare --data "$data" --tokenizer "$pack/tokenizer.json" --out "$pack/corpus.npz"
# Only what is scored: the held-out book and the encyclopaedia's test file.
tar -C "$data" -cJf "$pack/texts.tar.xz" text/2701-0.txt text/wikitext2_test.txt
