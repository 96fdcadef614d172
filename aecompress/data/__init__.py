"""Data: where rows come from, how they are split and scaled."""
