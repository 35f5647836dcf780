"""The demonstration of continuing texts: two plays of Shakespeare, learnt by focal modulation and by attention."""
