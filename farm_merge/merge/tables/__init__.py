"""What a table is: its definition, how it is read from SQL, compared, and made."""
