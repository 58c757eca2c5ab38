"""From shards and legacy files to one experiment database, step by step."""
