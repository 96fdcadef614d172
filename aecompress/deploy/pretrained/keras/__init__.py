"""Models that Keras saved: layers by their class names, weights by their places; no code of a file is run."""
