"""The spec of a run: what is requested, where each value came from, and every fault at once."""
