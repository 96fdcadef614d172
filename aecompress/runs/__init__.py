"""The trip of a run from rows to verified files."""
