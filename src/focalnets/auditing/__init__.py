"""What data has taught a classifier besides its task, with intervals and control of errors."""
