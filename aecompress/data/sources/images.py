"""Images: the files of MNIST (idx), and folders of pictures."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aecompress.data.base import Array, Part
from aecompress.data.sources.limits import check_fits
from aecompress.data.sources.numpy_files import fill
from aecompress.data.sources.packed import check_library
from aecompress.errors import DataError
from aecompress.parsing import quoted

IDX = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""Types of idx files by the number in their header (http://yann.lecun.com/exdb/mnist)."""
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def parse_idx(where: str, file: BinaryIO, part: Part) -> Array:
    """Return the array of an idx file, as MNIST has: ``[N, ...]``.

    Raises:
        DataError: damaged, or too large.
    """
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX or not 1 <= head[3] <= 8:
        raise DataError(f"{where}: cannot be read as idx (it begins with {head.hex() or 'nothing'}); get it again")
    sizes = file.read(4 * head[3])
    shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
    if len(shape) < head[3]:
        raise DataError(f"{where}: ends within its header; get it again")
    dtype = np.dtype(IDX[head[2]])
    check_fits(where, math.prod(shape), dtype.itemsize)
    rows = np.empty(shape, dtype)
    try:
        if rows.size:
            fill(file, rows.reshape(-1).view(np.uint8).data)
    except EOFError as fault:
        raise DataError(f"{where}: is not whole ({fault}); get it again") from fault
    if file.read(1):
        raise DataError(f"{where}: has more bytes than its header says, shape {shape}; get it again")
    return rows.astype(dtype.newbyteorder("="), copy=False)


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder and the folders in it, by name."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def read_images(folder: Path, paths: list[Path]) -> Array:
    """Return images of one size, uint8: ``[N, height, width]`` where all are grey, else ``[N, height, width, 3]``.

    Raises:
        DataError: one is damaged, or has another size than the first.
    """
    check_library(str(folder), "PIL")
    grey = all(_mode(path) in ("L", "1", "LA") for path in paths)
    first = _image(paths[0], grey)
    check_fits(str(folder), len(paths) * first.size, 1)
    rows = np.empty((len(paths), *first.shape), np.uint8)
    for place, path in enumerate(paths):
        image = _image(path, grey)
        if image.shape != first.shape:
            raise DataError(
                f"{path}: has {image.shape[1]} x {image.shape[0]} pixels, {paths[0].name} {first.shape[1]} x "
                f"{first.shape[0]}; give images of one size"
            )
        rows[place] = image
    return rows


def _mode(path: Path) -> str:
    return str(_opened(path, lambda image: image.mode))


def _image(path: Path, grey: bool) -> Array:
    return np.asarray(_opened(path, lambda image: np.asarray(image.convert("L" if grey else "RGB"))))


def _opened(path: Path, use):  # type: ignore[no-untyped-def]
    """Return what ``use`` makes of an image.

    Raises:
        DataError: it is damaged, or of too many pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of images of very many pixels
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise DataError(f"{path}: has pixels of more than 8 bits; give the images as one .npy file")
                return use(image)
    except DataError:
        raise
    except Exception as fault:  # a damaged image makes pillow raise a dozen unrelated classes
        raise DataError(f"{path}: cannot be read as an image ({quoted(fault)}); remove or replace it") from fault
