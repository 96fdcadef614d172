"""Every test worker uses one thread: two torch threads on a busy core collapse."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
