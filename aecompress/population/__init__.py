"""The one state of a run, and the statistics that belong to it."""
