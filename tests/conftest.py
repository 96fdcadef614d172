"""Every test worker uses one thread: two torch threads on a busy core collapse. Kernels for a GPU are interpreted.

Property tests have no deadline: on a busy machine one example out of a hundred can take any time.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels for a GPU run in Triton's interpreter, where it is here
