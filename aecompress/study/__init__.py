"""Studies: many runs from one file, what they show, and pages to read it on."""
