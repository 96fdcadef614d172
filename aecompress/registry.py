"""What a spec can name: data, evolution rules, operators, schedules, variants. A new one is its code and one row here.

A row has the facts that the rest of the package needs, and names its code as an entry point does, ``module:name``.
:func:`pkgutil.resolve_name` imports it when a run needs it, so that neither ``--help`` nor the check of a spec imports
torch. There is no other place that lists the names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

FILE = ":FILE"
"""How the usage of a source ends whose argument is a file."""


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """A source of rows that is named instead of being a file of a known ending."""

    usage: str
    """How it is written; what follows its first colon is its argument."""
    read: str
    """Its function, from a :class:`aecompress.data.base.Request` to a :class:`aecompress.data.base.Raw`; it raises
    DataError that begins with the source."""
    kind: str = "aecompress.data.arrays:ROWS"
    """What its rows are kept as, and what is done with them, a :class:`aecompress.data.kinds.Kind`."""
    about: str = ""
    """What the help adds to the usage."""
    own_splits: bool = False
    """Whether it brings its own three splits."""


SOURCES: dict[str, SourceRow] = {
    "digits": SourceRow(usage="digits", read="aecompress.data.sources.digits:read_digits"),
    "binary-clusters": SourceRow(
        usage="binary-clusters:CxRxD", read="aecompress.data.sources.clusters:read_clusters", own_splits=True
    ),
    "interactions": SourceRow(
        usage="interactions" + FILE,
        read="aecompress.data.sources.interactions:read_interactions",
        kind="aecompress.data.interactions:INTERACTIONS",
        about="(CSV of user,item pairs)",
    ),
    "-": SourceRow(usage="-", read="aecompress.data.sources.stdin:read_stdin", about="for stdin"),
}
"""Sources by name."""


@dataclass(frozen=True, kw_only=True)
class FormatRow:
    """A format of files of rows."""

    parse: str
    """Its function: (name for messages, file, what to take) -> rows ``[N, ...]`` or a table; it raises DataError that
    begins with the name."""
    keys: bool = False
    """A file holds several arrays, one of which a key chooses."""
    columns: bool = False
    """Columns can be chosen."""
    opens: str = ""
    """Of one whose rows may be read from their file when they are needed: its function, path -> a
    :class:`aecompress.data.file_rows.FileRows`, or None where the file must be parsed."""

    magic: tuple[bytes, ...] = ()
    """First bytes of its files, by which one is known whatever its ending is."""
    seeks: bool = False
    """Whether it is read in another order than from its first byte to its last."""
    blocks: str = ""
    """Of a table: its function, called as ``parse`` is -> its rows block by block, an iterator of tables."""


_SOURCES = "aecompress.data.sources."
CSV = FormatRow(
    parse=_SOURCES + "csv_files:parse_csv",
    blocks=_SOURCES + "csv_files:tables",
    columns=True,
)
ARROW = FormatRow(
    parse=_SOURCES + "apart:parse_arrow",
    blocks=_SOURCES + "apart:arrow_tables",
    magic=(b"ARROW1", b"FEA1", b"\xff\xff\xff\xff"),
    columns=True,
    seeks=True,
)
JSON = FormatRow(parse=_SOURCES + "frames:parse_json", columns=True, seeks=True)
TORCH = FormatRow(parse=_SOURCES + "tensors:parse_torch", keys=True, seeks=True)
HDF5 = FormatRow(parse=_SOURCES + "tensors:parse_hdf5", magic=(b"\x89HDF\r\n\x1a\n",), keys=True, seeks=True)
RAW = FormatRow(parse=_SOURCES + "raw_maps:parse_raw", opens=_SOURCES + "raw_maps:open_raw", keys=True, seeks=True)
FORMATS: dict[str, FormatRow] = {
    ".npy": FormatRow(
        parse=_SOURCES + "numpy_files:parse_numpy", opens=_SOURCES + "numpy_files:open_npy", magic=(b"\x93NUMPY",)
    ),
    ".npz": FormatRow(parse=_SOURCES + "numpy_files:parse_numpy", keys=True, seeks=True),
    ".csv": CSV,
    ".tsv": CSV,
    ".txt": CSV,
    ".data": CSV,
    ".parquet": FormatRow(
        parse=_SOURCES + "apart:parse_parquet",
        blocks=_SOURCES + "apart:parquet_tables",
        magic=(b"PAR1",),
        columns=True,
        seeks=True,
    ),
    ".arrow": ARROW,
    ".feather": ARROW,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".pt": TORCH,
    ".pth": TORCH,
    ".safetensors": FormatRow(
        parse=_SOURCES + "tensors:parse_safetensors",
        opens=_SOURCES + "tensors:open_safetensors",
        keys=True,
        seeks=True,
    ),
    ".mat": FormatRow(
        parse=_SOURCES + "matlab:parse_matlab", magic=(b"MATLAB 5.0", b"MATLAB 7.3"), keys=True, seeks=True
    ),
    ".h5": HDF5,
    ".hdf5": HDF5,
    "-ubyte": FormatRow(parse=_SOURCES + "images:parse_idx"),
    ".dat": RAW,
    ".raw": RAW,
    ".bin": RAW,
}
"""Formats by the ending of a file's name, in small letters; a compressed file has one more ending."""
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings of compressed files, which are known by their first bytes."""


def find_source(source: str) -> SourceRow | None:
    """Return the row of a source that is named; None where ``source`` is a file."""
    name, colon, _ = source.partition(":")
    row = SOURCES.get(name)
    return row if row is not None and (not colon or ":" in row.usage) else None


def data_usage() -> str:
    """Return how data are named, for the help: each source, then the endings of files."""
    files = ", ".join(ending + (":key" if row.keys else "") for ending, row in FORMATS.items())
    named = ", ".join(f"{row.usage} {row.about}".rstrip() for row in SOURCES.values())
    return f"{named}; or files of rows, a folder of them, or a pattern ('many/*.npy'): {files}, each also compressed"


@dataclass(frozen=True, kw_only=True)
class RuleRow:
    """An evolution rule: how a generation's individuals come from the last one's."""

    visit: str
    """Its function, a :data:`aecompress.evolve.base.Visit`."""
    about: str
    """What a cell does, as a clause of the help."""
    mode: str = "coevo"
    """The mode of a spec that it is for; in coevo, ``evolve.rule`` names it."""
    spatial: bool = True
    """Whether cells have neighbours, whose number is n of the schedules, and select among them."""
    changes_partners: bool = False
    """Whether encoders and decoders change partners from step to step of a generation."""
    prunes_first: bool = False
    """Whether a cell is pruned before it trains."""
    pruned_once: bool = False
    """Whether a cell is pruned once in a generation, after all its training."""
    copies_neighbourhood: bool = False
    """Whether every cell trains with copies of its neighbourhood, which take memory."""
    own_budgets: bool = False
    """Whether each cell may have a budget of its own; then the front between the budgets is filled at the end."""
    one_rate: bool = False
    """Whether all cells have the learning rate of the first one."""


RULES: dict[str, RuleRow] = {
    "alone": RuleRow(
        visit="aecompress.evolve.rules.alone:alone",
        about="one autoencoder trains and is pruned, without selection",
        mode="canonical",
        spatial=False,
    ),
    "dominance": RuleRow(
        visit="aecompress.evolve.rules.dominance:dominance",
        about="a cell takes its neighbourhood's best encoder and decoder, cut to its own budget, where they beat its "
        "own",
        own_budgets=True,
    ),
    "pair": RuleRow(
        visit="aecompress.evolve.rules.pair:pair",
        about="a tournament, then training, then pruning, as published",
    ),
    "pair-prune-first": RuleRow(
        visit="aecompress.evolve.rules.pair:pair_prune_first",
        about="pruning before training",
        prunes_first=True,
    ),
    "opponents": RuleRow(
        visit="aecompress.evolve.rules.opponents:opponents",
        about="each of the pair trains with opponents drawn anew for every batch",
        changes_partners=True,
        copies_neighbourhood=True,
    ),
    "panmictic": RuleRow(
        visit="aecompress.evolve.rules.panmictic:panmictic",
        about="every encoder trains with every decoder",
        spatial=False,
        changes_partners=True,
        pruned_once=True,
        one_rate=True,
    ),
}


Level = Literal["weight", "unit"]
Needs = Literal["nothing", "stats", "guide", "rows", "moments"]
WATCHED: tuple[Needs, ...] = ("stats", "moments")
"""What is collected while training."""
PROBABILITY = 0.5
"""p of the schedules, where neither a spec nor the operator's row has another."""


@dataclass(frozen=True, kw_only=True)
class OperatorRow:
    """A pruning operator, of which :class:`aecompress.evolve.operators.Operator` has the functions."""

    score: str
    """Its function from evidence to scores; the lowest are pruned first."""
    level: Level = "weight"
    """What it scores."""
    needs: Needs = "nothing"
    """What is collected for it: activation statistics, guide rows, training rows, Adam's moments."""
    published: str = ""
    """Its function from evidence to masks in the form of the paper, which a probability drives; empty: it has none."""
    probability: float = PROBABILITY
    """p of the schedules, where a spec has none."""


OPERATORS: dict[str, OperatorRow] = {
    "random": OperatorRow(
        score="aecompress.evolve.operators:random",
        published="aecompress.evolve.operators:random_published",
    ),
    "magnitude": OperatorRow(score="aecompress.evolve.operators:magnitude"),
    "magnitude-layer": OperatorRow(score="aecompress.evolve.operators:magnitude_layer"),
    "wanda": OperatorRow(score="aecompress.evolve.operators:wanda", needs="rows"),
    "taylor": OperatorRow(score="aecompress.evolve.operators:taylor", needs="rows"),
    "obd": OperatorRow(score="aecompress.evolve.operators:obd", needs="moments"),
    "obd-root": OperatorRow(score="aecompress.evolve.operators:obd_root", needs="moments"),
    "variance": OperatorRow(
        score="aecompress.evolve.operators:variance",
        level="unit",
        needs="stats",
        published="aecompress.evolve.operators:variance_published",
        probability=0.1,
    ),
    "conjunctive": OperatorRow(
        score="aecompress.evolve.operators:conjunctive",
        level="unit",
        needs="guide",
        published="aecompress.evolve.operators:conjunctive_published",
    ),
}


def needs(operator: str) -> Needs:
    """Return what is collected for an operator; of "auto" and of a plug-in's, as far as is known, nothing."""
    return OPERATORS[operator].needs if operator in OPERATORS else "nothing"


def unpublished(operator: str) -> bool:
    """Return whether an operator of ours has no published form; "auto" is none that has."""
    return operator == "auto" or (operator in OPERATORS and not OPERATORS[operator].published)


def probability_of(operator: str) -> float:
    """Return p of the schedules for an operator, which may be a plug-in's."""
    return OPERATORS[operator].probability if operator in OPERATORS else PROBABILITY


def probabilities() -> str:
    """Return p of each operator in words: ``0.1 for variance, else 0.5``."""
    own = [f"{row.probability} for {name}" for name, row in OPERATORS.items() if row.probability != PROBABILITY]
    return ", ".join([*own, f"else {PROBABILITY}"])


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """A schedule: how pruning develops over the run."""

    build: str
    """A function from a :class:`aecompress.evolve.schedules.Shape` to s(t); of a rise, from its start and end to it."""
    rise: bool = False
    """Whether it is a rise to the target itself (:data:`aecompress.evolve.schedules.Curve`), and no probability."""


SCHEDULES: dict[str, ScheduleRow] = {
    "cubic": ScheduleRow(build="aecompress.evolve.schedules:cubic", rise=True),
    "fixed": ScheduleRow(build="aecompress.evolve.schedules:fixed"),
    "increase": ScheduleRow(build="aecompress.evolve.schedules:increase"),
    "decrease": ScheduleRow(build="aecompress.evolve.schedules:decrease"),
    "exponential": ScheduleRow(build="aecompress.evolve.schedules:exponential"),
    "final_n": ScheduleRow(build="aecompress.evolve.schedules:final_n"),
    "prune_after": ScheduleRow(build="aecompress.evolve.schedules:prune_after"),
    "population": ScheduleRow(build="aecompress.evolve.schedules:population"),
}


@dataclass(frozen=True, kw_only=True)
class VariantRow:
    """A file, or one for each part, beside the three plain ones."""

    write: str
    """Its function, a :data:`aecompress.deploy.variants.base.Writer`."""
    smaller: str = ""
    """Of one with a smaller autoencoder file: its function from a chain and export.values to a
    :data:`aecompress.deploy.graph.Product`, from which bytes are estimated before a run."""
    ends: tuple[str, str] | None = None
    """Input and output of its graph, where they are not those of a part; ``verify`` knows it by them."""
    expects: str = ""
    """Of one with such a graph: its function from what the three parts give on scaled rows, and the reported metric, to
    what it gives, :data:`aecompress.deploy.expected.Expectations` by its name."""


VARIANTS: dict[str, VariantRow] = {
    "packed": VariantRow(
        write="aecompress.deploy.variants.packed:packed", smaller="aecompress.deploy.pack:about_packed"
    ),
    "fp16": VariantRow(write="aecompress.deploy.variants.fp16:fp16", smaller="aecompress.deploy.graph:halves"),
    "int8": VariantRow(write="aecompress.deploy.variants.int8:int8"),
    "scorer": VariantRow(
        write="aecompress.deploy.variants.scorer:scorer",
        ends=("input", "score"),
        expects="aecompress.deploy.expected:scored",
    ),
    "sparse": VariantRow(write="aecompress.deploy.variants.sparse:sparse"),
}
"""In the order in which they are written."""


def rules_of(mode: str) -> list[str]:
    """Return the names of the rules that are for a mode; canonical has one."""
    return [name for name, rule in RULES.items() if rule.mode == mode]


def listed(names: Iterable[str], last: str = "or") -> str:
    """Return names as a sentence lists them: ``a, b or c``."""
    *before, end = names
    return f"{', '.join(before)} {last} {end}" if before else end
