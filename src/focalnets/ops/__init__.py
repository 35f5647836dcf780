"""What focal modulation computes; knows nothing of models."""
