#!/bin/sh
# Measure the package on a GPU, in at most nine minutes: benchmarks/gpu/run.sh [FOLDER] [--minutes 9] [--tiny]
#
# Each stage writes FOLDER/<stage>.json after each figure. A second start goes on where the first one ended. Needs
# Python with torch and triton, and timm for the comparison; nothing is installed and nothing fetched.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}"
PYTHONUNBUFFERED=1
export PYTHONPATH PYTHONUNBUFFERED
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
