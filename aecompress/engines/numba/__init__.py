"""Training on a CPU in compiled loops: whole passes of small steps, and all of other steps but their matrix products.

At batch 5 a step of a 60,000-parameter autoencoder is some ten microseconds of arithmetic; calling a tensor library for
each of its parts costs several times that. Here a cell's weights (and moments) are copied into a buffer that stays in
the core's cache, and every step of the pass runs there: forward, backward, and gradient, mask and update of a row of
weights while that row is hot. Cells do not meet inside a generation, so each core takes the next cell; what a cell
computes depends neither on the others nor on who computes it.

A batch of more rows is worked on a few rows at a time, its gradient kept until it is whole; there two cores may share a
cell (:mod:`.pieces`). A step of wide layers leaves its products to torch; what lies between two of them is one loop
over values that are still hot, and mask and update are one loop over the weights (:mod:`.steps`).

In the order in which they build on each other:

    cache        where compiled code is kept, and what empties it
    jit          the decorators, and instructions that NumPy has no name for
    layout       the table of layers, a cell's buffer and its views
    products     matrix products and gradients
    updates      mask and update rules
    activations  activations, their gradients and those of the losses
    cell         a cell's pass of small batches, and its evaluation
    pieces       a cell's pass of large batches, which two cores may share
    steps        what lies between the products of wide layers
    shuffle      the order of a pass
    engine       what the rest of the package calls

The loops are compiled by numba for the machine they run on, and the compiled code is kept between processes. Records
are NamedTuples, which numba passes field by field.
"""
