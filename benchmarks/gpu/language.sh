#!/bin/sh
# Train nanoGPT's setting for characters on a GPU: benchmarks/gpu/language.sh CORPUS.txt [FOLDER] [--minutes 8]
#
# 10.7 M parameters, 5,000 steps of 64 passages of 256 characters, bfloat16. Writes FOLDER/language.json each time the
# held-out tenth of the text was read, and stops before its time is over; a second start goes on where the first one
# ended. Needs Python with torch and triton; nothing is installed and nothing fetched.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}"
PYTHONUNBUFFERED=1
export PYTHONPATH PYTHONUNBUFFERED
exec "${PYTHON:-python3}" -m benchmarks.gpu.language "$@"
