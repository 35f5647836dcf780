"""Language models side by side: what they learn from a text, what they recall, and what they cost."""
