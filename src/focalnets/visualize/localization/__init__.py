"""Does the network look at the object: maps measured against masks, beside maps that know nothing."""
