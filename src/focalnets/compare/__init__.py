"""Networks side by side: what they cost, what they reach on the same training, and which part does what."""
