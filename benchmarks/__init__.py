"""One command each: prints a table, writes JSON."""
