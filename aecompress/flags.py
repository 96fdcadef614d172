"""The flags that stand for fields of the spec: one table for the command line and the terminal UI."""

from __future__ import annotations

from typing import Any, NamedTuple

from aecompress.registry import OPERATORS, SCHEDULES, VARIANTS, listed, rules_of


class Flag(NamedTuple):
    """A flag, the field it sets, and its help."""

    flag: str
    field: str
    help: str
    metavar: str = "TEXT"
    panel: str = "Spec"


NUMBER, NUMBERS, WORDS, SWITCH = "NUMBER", "A,B,...", "NAME,...", ""
"""What a flag takes: a number, numbers, names, or nothing."""

FLAGS = (
    Flag("--mode", "mode", "coevo (a ring of encoders and decoders) or canonical (one autoencoder)."),
    Flag("--seed", "seed", "Random seed.", metavar=NUMBER),
    Flag("--device", "device", "auto, cpu, cuda, cuda:N or mps."),
    Flag("--precision", "precision", "float32, float64, bf16 or, on CUDA, tf32."),
    Flag("--compile", "compile", "auto, on or off: compiled training, on a CPU or a GPU."),
    Flag("--key", "data.key", "Array in a file of several.", panel="Data"),
    Flag("--columns", "data.columns", "Columns of a table, by name or number: a,b or 0,3-5.", panel="Data"),
    Flag("--split", "data.split", "Shares of train, validation and test rows.", metavar=NUMBERS, panel="Data"),
    Flag("--val", "data.val", "Your own validation rows: FILE or FILE:key.", panel="Data"),
    Flag("--test", "data.test", "Your own test rows: FILE or FILE:key.", panel="Data"),
    Flag("--labels", "data.labels", "0 or 1 (anomaly) per row of --test: FILE or FILE:key.", panel="Data"),
    Flag("--label", "data.label", "Column that says which rows are anomalies; no input.", panel="Data"),
    Flag("--missing", "data.missing", "Missing cells: error, drop, median or mean.", panel="Data"),
    Flag("--dates", "data.dates", "Columns of dates: error, drop or cyclic.", panel="Data"),
    Flag("--categories", "data.categories", "Columns of few texts: error, drop or one-hot.", panel="Data"),
    Flag("--split-by", "data.split_by", "auto, random, order, group:COLUMN or file.", panel="Data"),
    Flag("--window", "data.window", "Rows in order that make one row of a series.", metavar=NUMBER, panel="Data"),
    Flag("--stride", "data.stride", "Rows from one window to the next.", metavar=NUMBER, panel="Data"),
    Flag("--in-memory", "data.in_memory", "auto, yes, or no: rows are read batch by batch.", panel="Data"),
    Flag("--scaling", "data.scaling", "auto, none, minmax or standard.", panel="Data"),
    Flag(
        "--network",
        "model.network",
        "default, conv (images, series), pca (nothing trained), paper, paper-small or paper-large.",
        panel="Model",
    ),
    Flag("--init", "model.init", "Start from FILE.safetensors, .pt/.pth or .onnx.", panel="Model"),
    Flag(
        "--hidden",
        "model.hidden",
        "Hidden layers of the encoder; the decoder mirrors them.",
        metavar=NUMBERS,
        panel="Model",
    ),
    Flag("--latent", "model.latent", "Size of the latent code.", metavar=NUMBER, panel="Model"),
    Flag("--family", "model.family", "plain, denoising or variational.", panel="Model"),
    Flag("--epochs", "train.epochs", "Passes over the training rows.", metavar=NUMBER, panel="Training"),
    Flag("--batch", "train.batch", "Rows per step.", metavar=NUMBER, panel="Training"),
    Flag("--lr", "train.learning_rate", "Learning rate.", metavar=NUMBER, panel="Training"),
    Flag("--bits", "train.bits", "Bits of a weight, 1 to 8: trained with rounding.", metavar=NUMBER, panel="Training"),
    Flag("--cells", "evolve.cells", "Cells on the ring.", metavar=NUMBER, panel="Evolution"),
    Flag("--topology", "evolve.topology", "ring, von-neumann or moore.", panel="Evolution"),
    Flag("--radius", "evolve.radius", "Neighbours on each side.", metavar=NUMBER, panel="Evolution"),
    Flag("--rule", "evolve.rule", listed(rules_of("coevo")) + ".", panel="Evolution"),
    Flag(
        "--operator",
        "prune.operator",
        listed(["auto", "none", *OPERATORS, "a plug-in's"]) + ".",
        panel="Pruning",
    ),
    Flag(
        "--schedule",
        "prune.schedule",
        listed(SCHEDULES) + ".",
        panel="Pruning",
    ),
    Flag(
        "--regrowth", "prune.regrowth", "Share of kept weights exchanged at a prune.", metavar=NUMBER, panel="Pruning"
    ),
    Flag(
        "--target-sparsity",
        "prune.target_sparsity",
        "Share of weights zero at the end.",
        metavar=NUMBER,
        panel="Pruning",
    ),
    Flag(
        "--probability",
        "prune.probability",
        "Prune by probability, as published, with this p.",
        metavar=NUMBER,
        panel="Pruning",
    ),
    Flag("--max-params", "budget.max_params", "Most non-zero weights and biases.", metavar=NUMBER, panel="Pruning"),
    Flag(
        "--max-bytes", "budget.max_bytes", "Most bytes of the smallest exported file.", metavar=NUMBER, panel="Pruning"
    ),
    Flag("--max-loss-increase", "budget.max_loss_increase", "Largest loss above a dense model's: 5%.", panel="Pruning"),
    Flag("--granularity", "prune.granularity", "weight or unit.", panel="Pruning"),
    Flag("--opset", "export.opset", "ONNX opset.", metavar=NUMBER, panel="Output"),
    Flag("--variants", "export.variants", f"Also {', '.join(VARIANTS)}.", metavar=WORDS, panel="Output"),
    Flag("--int8", "export.int8", "Keep int8 files where measured to be faster here, always or never.", panel="Output"),
    Flag(
        "--values", "export.values", "Of packed files: smallest, float32, float16, int8, int6 to int2.", panel="Output"
    ),
    Flag(
        "--embed-scaling",
        "export.embed_scaling",
        "ONNX files take raw rows, or scaled ones.",
        metavar=SWITCH,
        panel="Output",
    ),
)


def parsed(text: str, metavar: str) -> Any:
    """Return the number(s) a flag's text stands for; the text itself where it is none, for the spec to refuse."""
    if metavar == NUMBERS and text != "auto":
        return [parsed(part.strip(), NUMBER) for part in text.split(",") if part.strip()]
    if metavar == WORDS:
        return [part.strip() for part in text.split(",") if part.strip()]
    if metavar == NUMBER:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text
