"""The spec of a run: what is asked, where each value came from, and every fault at once."""
