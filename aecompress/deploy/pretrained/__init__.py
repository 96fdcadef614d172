"""Models trained elsewhere: one file a format."""
