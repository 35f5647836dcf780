"""Looking inside networks of texts: which level each token listens to, and how a text surprises."""
