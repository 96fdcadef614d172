"""Modules of torch in memory as chains of steps: copied, exported to a graph, and read node by node."""
