"""From a complete spec to the parts of a run. Configuration ends here."""
