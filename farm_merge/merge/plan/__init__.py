"""What becomes of every input: names, tables and decisions, before one byte is written."""
