"""What a GPU does with this package, within nine minutes: ``benchmarks/gpu/run.sh FOLDER``."""
