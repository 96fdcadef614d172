"""Engines: ways to train and to measure; all compute the same."""
