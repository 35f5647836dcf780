"""Classes of whole sequences, whatever these are made of: what texts and series share."""
