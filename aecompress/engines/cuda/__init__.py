"""Kernels, graphs and passes for CUDA devices. triton is imported only here, and only when a kernel is needed."""
