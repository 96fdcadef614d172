"""The matrix products of a layer and its gradient, as loops whose sums stay in registers."""

from __future__ import annotations

import numpy as np

from aecompress.engines.numba.jit import compiled


@compiled
def dots(matrix, rows, out):
    """Compute ``out[b, r] = sum over c of matrix[r, c] rows[b, c]``.

    Two matrix rows against five b at a time: ten sums stay in registers, and what is read is used several times.
    """
    many, width = rows.shape
    height = matrix.shape[0]
    pairs, fives = height - height % 2, many - many % 5
    for r in range(0, pairs, 2):
        m, n = matrix[r], matrix[r + 1]
        for b in range(0, fives, 5):
            x0, x1, x2, x3, x4 = rows[b], rows[b + 1], rows[b + 2], rows[b + 3], rows[b + 4]
            s0 = s1 = s2 = s3 = s4 = t0 = t1 = t2 = t3 = t4 = np.float32(0)
            for c in range(width):
                s0 += m[c] * x0[c]
                s1 += m[c] * x1[c]
                s2 += m[c] * x2[c]
                s3 += m[c] * x3[c]
                s4 += m[c] * x4[c]
                t0 += n[c] * x0[c]
                t1 += n[c] * x1[c]
                t2 += n[c] * x2[c]
                t3 += n[c] * x3[c]
                t4 += n[c] * x4[c]
            out[b, r], out[b + 1, r], out[b + 2, r], out[b + 3, r], out[b + 4, r] = s0, s1, s2, s3, s4
            out[b, r + 1], out[b + 1, r + 1], out[b + 2, r + 1], out[b + 3, r + 1], out[b + 4, r + 1] = (
                t0,
                t1,
                t2,
                t3,
                t4,
            )
    for r in range(height):
        m = matrix[r]
        for b in range(fives if r < pairs else 0, many):
            x0, s0 = rows[b], np.float32(0)
            for c in range(width):
                s0 += m[c] * x0[c]
            out[b, r] = s0


@compiled
def sums(matrix, factors, out):
    """Add ``out[b, c] += sum over r of factors[b, r] matrix[r, c]``.

    Three matrix rows against five b at a time: fifteen factors stay in registers, and what is read is used several
    times.
    """
    height, width = matrix.shape
    many = out.shape[0]
    threes, fives = height - height % 3, many - many % 5
    for b in range(0, fives, 5):
        y0, y1, y2, y3, y4 = out[b], out[b + 1], out[b + 2], out[b + 3], out[b + 4]
        f0, f1, f2, f3, f4 = factors[b], factors[b + 1], factors[b + 2], factors[b + 3], factors[b + 4]
        for r in range(0, threes, 3):
            m0, m1, m2 = matrix[r], matrix[r + 1], matrix[r + 2]
            s0, s1, s2, s3, s4 = f0[r], f1[r], f2[r], f3[r], f4[r]
            t0, t1, t2, t3, t4 = f0[r + 1], f1[r + 1], f2[r + 1], f3[r + 1], f4[r + 1]
            u0, u1, u2, u3, u4 = f0[r + 2], f1[r + 2], f2[r + 2], f3[r + 2], f4[r + 2]
            for c in range(width):
                x0, x1, x2 = m0[c], m1[c], m2[c]
                y0[c] += s0 * x0 + t0 * x1 + u0 * x2
                y1[c] += s1 * x0 + t1 * x1 + u1 * x2
                y2[c] += s2 * x0 + t2 * x1 + u2 * x2
                y3[c] += s3 * x0 + t3 * x1 + u3 * x2
                y4[c] += s4 * x0 + t4 * x1 + u4 * x2
    for b in range(many):
        line = out[b]
        for r in range(threes if b < fives else 0, height):
            x0, s0 = matrix[r], factors[b, r]
            for c in range(width):
                line[c] += s0 * x0[c]


@compiled
def gradient_row(factors, lines, r, grad):
    """Compute row r of a layer's gradient, ``grad[c] = sum over b of factors[b, r] lines[b, c]``, five b at a time."""
    many = lines.shape[0]
    if many >= 5:
        f0, f1, f2, f3, f4 = factors[0, r], factors[1, r], factors[2, r], factors[3, r], factors[4, r]
        x0, x1, x2, x3, x4 = lines[0], lines[1], lines[2], lines[3], lines[4]
        for c in range(grad.shape[0]):
            grad[c] = f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c] + f4 * x4[c]
    else:
        grad[:] = 0
    left = 5 * (many // 5)
    for b in range(5, left, 5):
        f0, f1, f2, f3, f4 = factors[b, r], factors[b + 1, r], factors[b + 2, r], factors[b + 3, r], factors[b + 4, r]
        x0, x1, x2, x3, x4 = lines[b], lines[b + 1], lines[b + 2], lines[b + 3], lines[b + 4]
        for c in range(grad.shape[0]):
            grad[c] += f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c] + f4 * x4[c]
    for b in range(left, many):
        f0, x0 = factors[b, r], lines[b]
        for c in range(grad.shape[0]):
            grad[c] += f0 * x0[c]


@compiled
def add_gradients(factors, lines, grads):
    """Add ``grads[r, c] += sum over b of factors[b, r] lines[b, c]``, of a multiple of five b.

    Four rows of a layer's gradient against five b at a time.
    """
    height = grads.shape[0]
    fours = height - height % 4
    for r in range(0, fours, 4):
        g, h, i, j = grads[r], grads[r + 1], grads[r + 2], grads[r + 3]
        for b in range(0, lines.shape[0], 5):
            x0, x1, x2, x3, x4 = lines[b], lines[b + 1], lines[b + 2], lines[b + 3], lines[b + 4]
            f0, f1, f2, f3, f4 = factors[b], factors[b + 1], factors[b + 2], factors[b + 3], factors[b + 4]
            s0, s1, s2, s3, s4 = f0[r], f1[r], f2[r], f3[r], f4[r]
            t0, t1, t2, t3, t4 = f0[r + 1], f1[r + 1], f2[r + 1], f3[r + 1], f4[r + 1]
            u0, u1, u2, u3, u4 = f0[r + 2], f1[r + 2], f2[r + 2], f3[r + 2], f4[r + 2]
            v0, v1, v2, v3, v4 = f0[r + 3], f1[r + 3], f2[r + 3], f3[r + 3], f4[r + 3]
            for c in range(g.shape[0]):
                y0, y1, y2, y3, y4 = x0[c], x1[c], x2[c], x3[c], x4[c]
                g[c] += s0 * y0 + s1 * y1 + s2 * y2 + s3 * y3 + s4 * y4
                h[c] += t0 * y0 + t1 * y1 + t2 * y2 + t3 * y3 + t4 * y4
                i[c] += u0 * y0 + u1 * y1 + u2 * y2 + u3 * y3 + u4 * y4
                j[c] += v0 * y0 + v1 * y1 + v2 * y2 + v3 * y3 + v4 * y4
    for r in range(fours, height):
        g = grads[r]
        for b in range(0, lines.shape[0], 5):
            x0, x1, x2, x3, x4 = lines[b], lines[b + 1], lines[b + 2], lines[b + 3], lines[b + 4]
            f0, f1, f2, f3, f4 = factors[b], factors[b + 1], factors[b + 2], factors[b + 3], factors[b + 4]
            s0, s1, s2, s3, s4 = f0[r], f1[r], f2[r], f3[r], f4[r]
            for c in range(g.shape[0]):
                g[c] += s0 * x0[c] + s1 * x1[c] + s2 * x2[c] + s3 * x3[c] + s4 * x4[c]
