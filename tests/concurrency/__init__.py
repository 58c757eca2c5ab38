"""Many processes at once."""
