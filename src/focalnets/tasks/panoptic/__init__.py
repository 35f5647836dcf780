"""The task of finding every object and every kind of ground."""
