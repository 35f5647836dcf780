"""Looking inside: modulators and gates."""
