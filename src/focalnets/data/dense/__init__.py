"""Annotated photos as networks for dense tasks take them: changed at random, normalised, in padded batches."""
