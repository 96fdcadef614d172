"""Engines: ways to train and to evaluate; all compute the same."""
