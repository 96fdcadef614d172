"""From a spec to the parts of a run: its "auto" fields filled, its plan made. Configuration ends here."""
