"""What all tasks have in common that answer for places in an image."""
