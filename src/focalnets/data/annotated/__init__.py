"""Images of which is known where the objects are."""
