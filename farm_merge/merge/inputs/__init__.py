"""What an input is: found, looked at, read, and mapped to the tables of an experiment database."""
