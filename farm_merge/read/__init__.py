"""After the merge: databases are opened so that nothing in them can change."""
