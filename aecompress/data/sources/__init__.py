"""Sources of rows: one file a format, and a registry by the ending of a file and by name."""
