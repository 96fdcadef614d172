"""The engines by name. A new one is one file and one row."""

from __future__ import annotations

from aecompress.engines.base import Engine
from aecompress.engines.cuda_graphs import CudaGraphs
from aecompress.engines.cuda_passes import CudaPasses
from aecompress.engines.eager import Eager
from aecompress.engines.numba_convolutions import NumbaConvolutions
from aecompress.engines.numba_passes import NumbaPasses
from aecompress.engines.numba_steps import NumbaSteps

ENGINES: dict[str, Engine] = {
    "eager": Eager(),
    "numba-passes": NumbaPasses(),
    "numba-steps": NumbaSteps(),
    "numba-convolutions": NumbaConvolutions(),
    "cuda-graphs": CudaGraphs(),
    "cuda-passes": CudaPasses(),
}
