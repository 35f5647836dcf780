"""The whole chain once, on generated scenes: draw, train, evaluate, look inside, report. Needs no data."""
