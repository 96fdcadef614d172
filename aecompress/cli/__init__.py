"""The command line: one file per command; parameters, one call, rendering."""
