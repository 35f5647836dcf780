"""Images packed into tar files that are read without unpacking."""
