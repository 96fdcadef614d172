"""aecompress: train autoencoders, prune them while they learn, and ship small verified models."""

from __future__ import annotations

__version__ = "0.1.0"
