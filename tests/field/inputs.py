"""Makes the files of :mod:`tests.field.table` in a folder, from one seed, without the package."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import safetensors.numpy
import scipy.io
import scipy.sparse
import torch
import zstandard
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]
N, C = 40, 6
"""Rows and columns of most files."""
R = np.random.default_rng(27)
X: Floats = np.round(R.normal(size=(N, 3)) @ R.normal(size=(3, C)) + 0.1 * R.normal(size=(N, C)), 4)
IMAGES = R.integers(0, 256, (20, 8, 8), dtype=np.uint8)
SMALL = R.integers(0, 17, (N, C)).astype(np.uint8)
U16 = R.integers(0, 4096, (N, C)).astype(np.uint16)
WINDOWS = R.normal(size=(N, 10, 3)).astype(np.float32)
NHWC = R.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
NCHW = R.random((20, 3, 8, 8)).astype(np.float32)
SHUFFLED = R.permutation(N)
OUTLIER = X.copy()
OUTLIER[3, 0] = 1e6
LABEL = (np.arange(N) % 9 == 4).astype(int)
KIND = np.arange(N) % 5 == 0
NAMES = tuple(f"s{column}" for column in range(C))
HEADER = ",".join(NAMES)
MINUTES = [f"2024-01-01 {minute // 60:02d}:{minute % 60:02d}:00" for minute in range(N)]
DAYS = [np.datetime64("2024-01-01") + np.timedelta64(day, "D") for day in range(N)]
GAP = 5, 2
"""Row and column of the cell that is missing in files with one."""

Cells = Sequence[Sequence[object]]


def cell(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def lines(rows: Cells | Floats, header: str = "", sep: str = ",", end: str = "\n") -> str:
    """Rows as lines of text, each with its end."""
    body = [sep.join(map(cell, row)) for row in (rows.tolist() if isinstance(rows, np.ndarray) else rows)]
    return "".join(line + end for line in ([header] if header else []) + body)


def comma(text: str) -> str:
    """Numbers with a decimal comma."""
    return text.replace(".", ",")


def beside(*columns: Sequence[object]) -> list[list[object]]:
    """The rows of X with further columns after them; before them where a column comes first as ``before``."""
    return [[*row, *(column[place] for column in columns)] for place, row in enumerate(X.tolist())]


def before(column: Sequence[object], rows: Floats = X) -> list[list[object]]:
    """The rows of X with a column before them."""
    return [[column[place], *row] for place, row in enumerate(rows.tolist())]


def with_gap(word: str) -> list[list[object]]:
    """The rows of X as cells, one of them replaced by a word."""
    rows: list[list[object]] = X.tolist()
    rows[GAP[0]][GAP[1]] = word
    return rows


def texts() -> dict[str, str]:
    """The text files, by name."""
    plain = lines(X, HEADER)
    semicolons = lines(X, HEADER.replace(",", ";"), ";")
    body = plain.splitlines()
    files = {
        "plain_header.csv": plain,
        "ROWS.CSV": plain,
        "UPPER_NOHEADER.CSV": "1,2\n3,4\n5,6\n",
        "pandas_index.csv": lines(before(range(N)), "," + HEADER),
        "pandas_index_4.csv": lines(before(range(N), X[:, :4]), ",a,b,c,d"),
        "pandas_index_numeric_header.csv": lines(before(range(N)), ",0,1,2,3,4,5"),
        "numeric_header.csv": lines(X, "0,1,2,3,4,5"),
        "index_from_1.csv": lines(before(range(1, N + 1)), "id," + HEADER),
        "index_last.csv": lines(beside(range(N)), HEADER + ",row_id"),
        "r_index.csv": lines(before([f'"{row + 1}"' for row in range(N)]), '"",' + HEADER),
        "dates.csv": lines(before(MINUTES), "timestamp," + HEADER),
        "dates_german.csv": lines(before([f"{day.astype(object):%d.%m.%Y}" for day in DAYS]), "Datum," + HEADER),
        "dates_iso_z.csv": lines(before([text.replace(" ", "T") + "Z" for text in MINUTES]), "time," + HEADER),
        "dates_us.csv": lines(before([f"{day.astype(object):%m/%d/%Y}" for day in DAYS]), "Date," + HEADER),
        "epoch_seconds.csv": lines(before([1704067200 + 60 * row for row in range(N)]), "timestamp," + HEADER),
        "epoch_millis.csv": lines(before([1704067200000 + 60000 * row for row in range(N)]), "ts," + HEADER),
        "embed_scaling_lost.csv": lines(before([1.7e9 + 60 * row for row in range(N)]), "time," + HEADER),
        "categorical.csv": lines(beside(np.where(KIND, "pump", "fan")), HEADER + ",kind"),
        "free_text.csv": lines(beside([f"note {row} of the night" for row in range(N)]), HEADER + ",remark"),
        "missing_empty.csv": lines(with_gap(""), HEADER),
        "missing_sentinel.csv": lines(with_gap("-9999"), HEADER),
        "missing_sentinel_999.csv": lines(with_gap("999.0"), HEADER),
        "semicolon.csv": semicolons,
        "semicolon_decimal_comma.csv": comma(semicolons),
        "semicolon_noheader.csv": lines(X, sep=";"),
        "semicolon_decimal_comma_noheader.csv": comma(lines(X, sep=";")),
        "one_column_decimal_comma.csv": comma(lines(X[:, :1])),
        "pipe.csv": lines(X, HEADER.replace(",", "|"), "|"),
        "tab.csv": lines(X, HEADER.replace(",", "\t"), "\t"),
        "tab.tsv": lines(X, HEADER.replace(",", "\t"), "\t"),
        "rows.txt": lines(X, sep=" "),
        "savetxt_space.csv": "".join(" ".join(f"{value:.18e}" for value in row) + "\n" for row in X),
        "savetxt_comma_hash.csv": lines(X, "# " + HEADER),
        "aligned.txt": "".join("".join(f"{value:12.4f}" for value in row) + "\n" for row in X),
        "trailing_comma.csv": "\n".join(line + "," for line in body),
        "trailing_lines.csv": plain + "\n\n   \n",
        "quoted_numbers.csv": "\n".join(",".join(f'"{part}"' for part in line.split(",")) for line in body),
        "quoted_header.csv": "\n".join([",".join(f'"{name}"' for name in NAMES), *body[1:]]),
        "thousands.csv": "a,b\n" + "".join(f'"{int(a * 1e6):,}",{b}\n' for a, b in X[:, :2].tolist()),
        "comment_lines.csv": "# exported by logger\n# unit: V\n" + plain,
        "units_row.csv": "\n".join([body[0], "V,A,V,A,V,A", *body[1:]]),
        "two_headers.csv": "\n".join(["pump,pump,pump,fan,fan,fan", *body]),
        "space_after_comma.csv": plain.replace(",", ", "),
        "bool.csv": lines([[bool(value) for value in row] for row in X > 0], HEADER),
        "inf.csv": plain + "inf,1,1,1,1,1\n",
        "label_last.csv": lines(beside(LABEL.tolist()), HEADER + ",label"),
        "label_text.csv": lines(beside(np.where(LABEL == 1, "anomaly", "normal")), HEADER + ",class"),
        "label_attack.csv": lines(beside(["yes" if one else "no" for one in LABEL]), HEADER + ",is_anomaly"),
        "label_classes.csv": lines(beside((np.arange(N) % 3).tolist()), HEADER + ",class"),
        "huge.csv": lines(beside([1e12 + 1e3 * row for row in SHUFFLED]), HEADER + ",huge"),
        "beyond_f32.csv": lines(beside([1e39 * (row + 1) for row in SHUFFLED]), HEADER + ",huge"),
        "constant.csv": lines(beside([7.0] * N, [0.0] * N), HEADER + ",const,zero"),
        "one_outlier.csv": lines(
            [[1e6, *row[1:]] if place == 3 else row for place, row in enumerate(X.tolist())], HEADER
        ),
        "excel_sep.csv": "sep=;\n" + semicolons,
        "footer_total.csv": plain + "Total," + ",".join(map(cell, X.sum(0)[1:].tolist())) + "\n",
        "mixed_types.csv": lines(with_gap("abc"), HEADER),
        "nul_bytes.csv": plain.replace("0.1", "0\x00.1", 1),
        "duplicate_names.csv": lines(X, "a,b,a,c,d,e"),
        "empty_names.csv": lines(X, "a,b,,c,,e"),
        "odd_names.csv": lines(X, '"a,b","c ""d""","e\x1b[31m",f,g,h'),
        "wide.csv": lines(np.round(np.tile(X, (1, 500)), 3), ",".join(f"w{place}" for place in range(3000))),
        "ragged.csv": "\n".join([*body[:7], body[7] + ",1", *body[8:]]),
        "two_rows.csv": lines(X[:2], HEADER),
        "header_only.csv": HEADER + "\n",
        "percent.csv": lines([[f"{value:.2f}%" for value in row] for row in X.tolist()], HEADER),
        "currency.csv": lines([[f"${value:.2f}" for value in row] for row in np.abs(X).tolist()], HEADER),
        "rows.arff": "@relation x\n@attribute a real\n@attribute b real\n@data\n" + lines(X[:, :2]),
        "rows.libsvm": "1 1:0.5 3:0.2\n0 2:0.3\n1 1:0.7 2:0.1\n",
        "rows.jsonl": "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in X.tolist()),
        "rows.json": json.dumps([dict(zip(NAMES, row, strict=True)) for row in X.tolist()]),
        "columns.json": json.dumps({name: dict(enumerate(X[:, place])) for place, name in enumerate(NAMES)}),
    }
    files |= more_texts(plain)
    words = {"nan": "NaN", "na": "NA", "question": "?", "null": "NULL", "dash": "-"}
    return files | {f"missing_{name}.csv": lines(with_gap(word), HEADER) for name, word in words.items()}


def more_texts(plain: str) -> dict[str, str]:
    """Text files of kinds that were not among those of the issue, by name."""
    pairs = X[:, :2].tolist()
    grouped = [f"{int(abs(a) * 1e6):,}" for a, _ in pairs]
    return {
        "r_write_table.txt": " ".join(f'"{name}"' for name in NAMES)
        + "\n"
        + lines(before([f'"{row}"' for row in range(1, N + 1)]), sep=" "),
        "r_write_table.csv": lines(before([f'"{row}"' for row in range(1, N + 1)]), HEADER),
        "short_thousands.csv": "a;b\n"
        + "".join(f"1.{7 * row:03d};{comma(str(b))}\n" for row, (_, b) in enumerate(pairs)),
        "label_pass_fail.csv": lines(beside(np.where(LABEL == 1, 1, -1).tolist()), HEADER + ",Pass/Fail"),
        "label_outcome.csv": lines(beside(LABEL.tolist()), HEADER + ",Outcome"),
        "label_status.csv": lines(
            beside([("NORMAL", "BROKEN", "RECOVERING")[one + (one and row % 2)] for row, one in enumerate(LABEL)]),
            HEADER + ",machine_status",
        ),
        "header_inf.csv": lines(X[:, :3], "a,inf,b"),
        "header_1n.csv": lines(X, "1,2,3,4,5,6"),
        "header_years.csv": lines(X, "2019,2020,2021,2022,2023,2024"),
        "header_dates.csv": lines(X, ",".join(f"2024-01-0{day}" for day in range(1, 7))),
        "noheader_ints.csv": lines(np.arange(60).reshape(20, 3) * 7 % 11),
        "swat.csv": lines(beside(["Attack" if one else "Normal" for one in LABEL]), HEADER + ",Normal/Attack"),
        "kdd.csv": lines(beside(["smurf." if one else "normal." for one in LABEL])),
        "iris.csv": lines(
            beside([("setosa", "versicolor", "virginica")[row % 3] for row in range(N)]), HEADER + ",species"
        ),
        "creditcard.csv": lines(beside(LABEL.tolist()), '"Time","V1","V2","V3","V4","Amount","Class"'),
        "label_minus_1.csv": lines(beside(np.where(LABEL == 1, -1, 1).tolist()), HEADER + ",label"),
        "yes_no.csv": lines(beside(["yes" if one else "no" for one in KIND]), HEADER + ",door_open"),
        "ids.csv": lines(before([f"dev{row:04d}" for row in range(N)]), "device," + HEADER),
        "dates_am_pm.csv": lines(
            before([f"{28 - row % 20}/12/2015 10:{row:02d}:00 AM" for row in range(N)]), "t," + HEADER
        ),
        "dates_offset.csv": lines(
            before([text.replace(" ", "T") + ".123+01:00" for text in MINUTES]), "time," + HEADER
        ),
        "dates_month.csv": lines(before([f"{day.astype(object):%d-%b-%Y}" for day in DAYS]), "date," + HEADER),
        "dates_compact.csv": lines(before([f"{day.astype(object):%Y%m%d}" for day in DAYS]), "date," + HEADER),
        "missing_dot.csv": lines(with_gap("."), HEADER),
        "missing_backslash.csv": lines(with_gap("\\N"), HEADER),
        "missing_excel.csv": lines(with_gap("#DIV/0!"), HEADER),
        "missing_sentinel_1e20.csv": lines(with_gap("1e20"), HEADER),
        "empty_column.csv": lines(beside([""] * N), HEADER + ",empty"),
        "constant_text.csv": lines(beside(["V"] * N), HEADER + ",unit"),
        "title.csv": "Measurement of pump 3\n" + plain,
        "titles.csv": "Report\nDate: 2024-01-01\n\n" + lines(X, HEADER.replace(",", ";"), ";"),
        "footer_comment.csv": plain + "# end of file\n",
        "footer_text.csv": plain + "exported 40 rows\n",
        "single_quotes.csv": "'a','b'\n" + "".join(f"'{a}','{b}'\n" for a, b in pairs),
        "newline_in_header.csv": '"first\nname",b\n' + lines(X[:, :2]),
        "thousand_points.csv": "a;b\n"
        + "".join(f"{a.replace(',', '.')};{comma(str(b))}\n" for a, (_, b) in zip(grouped, pairs, strict=True)),
        "thousand_spaces.csv": "a;b\n"
        + "".join(f"{a.replace(',', ' ')};{b}\n" for a, (_, b) in zip(grouped, pairs, strict=True)),
        "plus.csv": lines([[f"{value:+.4f}" for value in row] for row in X.tolist()], HEADER),
        "fortran_d.csv": lines([[f"{value:.4e}".replace("e", "D") for value in row] for row in X.tolist()], HEADER),
        "unicode_minus.csv": plain.replace("-", "\u2212"),
        "blank_lines.csv": plain.replace("\n", "\n\n", 5),
        "no_final_newline.csv": plain.rstrip("\n"),
        "tabs_after_commas.csv": plain.replace(",", ",\t"),
        "trailing_spaces.csv": plain.replace("\n", "  \n"),
        "units_brackets.csv": "\n".join(["p,T,q,a,b,c", "[bar],[degC],[l/min],[-],[-],[-]", *plain.splitlines()[1:]]),
        "text.dat": plain,
        "text.log": plain,
        "text.tab": lines(X, HEADER.replace(",", "\t"), "\t"),
        "without_ending": plain,
        "text.npy": plain,
    }


def encoded() -> dict[str, bytes]:
    """Text files whose bytes matter, and compressed ones."""
    plain = lines(X, HEADER).encode()
    crlf = plain.replace(b"\n", b"\r\n")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("rows.csv", plain)
    array = io.BytesIO()
    np.save(array, X)
    return {
        "bom_crlf.csv": b"\xef\xbb\xbf" + crlf,
        "utf16.csv": plain.decode().encode("utf-16"),
        "cp1252.csv": lines(X, "Temp °C," + ",".join(NAMES[1:])).encode("cp1252"),
        "umlauts.csv": lines(X, "Höhe,Größe,Änderung,ß,µ,€").encode(),
        "mac_cr.csv": plain.replace(b"\n", b"\r"),
        "rows.csv.zip": packed.getvalue(),
        "rows.csv.bz2": bz2.compress(plain),
        "rows.csv.xz": lzma.compress(plain),
        "rows.csv.gz": gzip.compress(plain),
        "rows.csv.zst": zstandard.compress(plain),
        "rows.npy.gz": gzip.compress(array.getvalue()),
        "lfs.npy": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "rows.pkl": pickle.dumps([[1.0, 2.0]] * N),
        "train-images-idx3-ubyte": struct.pack(">IIII", 0x803, *IMAGES.shape) + IMAGES.tobytes(),
        "train-images-idx3-ubyte.gz": gzip.compress(struct.pack(">IIII", 0x803, *IMAGES.shape) + IMAGES.tobytes()),
        "raw.dat": X.astype("<f4").tobytes(),
        "utf16_no_mark.csv": plain.decode().encode("utf-16-le"),
        "semicolon_mark.csv": b"\xef\xbb\xbf" + lines(X, HEADER.replace(",", ";"), ";").encode(),
        "ROWS.CSV.GZ": gzip.compress(plain),
        "array.csv": array.getvalue(),
        "empty.csv": b"",
        "html.csv": b"<!DOCTYPE html><html><body>404: Not Found</body></html>\n",
    }


def arrays() -> dict[str, NDArray[Any]]:
    """The ``.npy`` files, by name."""
    structured = np.zeros(N, dtype=[("a", "f4"), ("b", "f4")])
    structured["a"], structured["b"] = X[:, 0], X[:, 1]
    gap = X.copy()
    gap[GAP] = np.nan
    return {
        "f64.npy": X,
        "f16.npy": X.astype(np.float16),
        "i64.npy": (X * 100).astype(np.int64),
        "bool.npy": X > 0,
        "u16.npy": U16,
        "u8_small.npy": SMALL,
        "i8.npy": (X * 10).astype(np.int8),
        "nan.npy": gap,
        "windows_ntc.npy": WINDOWS,
        "images_nhwc.npy": NHWC,
        "images_nchw.npy": NCHW,
        "series_1d.npy": X[:, 0],
        "fortran.npy": np.asfortranarray(X),
        "bigendian.npy": X.astype(">f4"),
        "complex.npy": X.astype(np.complex64),
        "object.npy": np.array([[1, "a"]] * 9, dtype=object),
        "texts.npy": np.array([["1.5", "2.5"]] * 9),
        "structured.npy": structured,
        "transposed.npy": X.T,
        "datetime.npy": np.array(DAYS).reshape(-1, 1),
        "sentinel.npy": np.where(np.eye(N, C) > 0, -9999, X).astype(np.float32),
        "scalar.npy": np.array(3.0),
        "no_rows.npy": np.zeros((0, C)),
        "long_double.npy": X.astype(np.longdouble),
        "many/part0.npy": X[:12],
        "many/part1.npy": X[12:24],
        "many/part2.npy": X[24:],
        "unlike/a.npy": X[:20],
        "unlike/b.npy": X[20:, :5],
    }


def make(folder: Path) -> None:
    """Write every file of the table into a folder."""
    for name in ("many", "unlike", "hf", "imgs", "csvs"):
        (folder / name).mkdir()
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    for name, content in encoded().items():
        (folder / name).write_bytes(content)
    for name, array in arrays().items():
        np.save(folder / name, array, allow_pickle=array.dtype.hasobject)
    for part in range(2):
        (folder / f"csvs/part{part}.csv").write_text(lines(X[part * 20 : part * 20 + 20], HEADER))
    np.savez(folder / "mnist_like.npz", x_train=IMAGES, y_train=np.zeros(20), x_test=IMAGES[:5], y_test=np.zeros(5))
    np.savez_compressed(folder / "one.npz", X)
    scipy.sparse.save_npz(folder / "sparse.npz", scipy.sparse.csr_matrix((X > 1).astype(np.float32)))
    scipy.io.savemat(folder / "rows.mat", {"X": X, "y": np.zeros(N)})
    torch.save(torch.tensor(X), folder / "tensor.pt")
    safetensors.numpy.save_file({"X": X.astype(np.float32)}, folder / "rows.safetensors")
    with h5py.File(folder / "rows.h5", "w") as file:
        file["X"] = X
    table = pa.table(dict(zip(NAMES, X.T, strict=True)))
    pa.parquet.write_table(table, folder / "rows.parquet")
    pa.feather.write_feather(table, folder / "rows.feather")
    with (
        pa.OSFile(str(folder / "hf/data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as stream,
    ):
        stream.write_table(table)
    (folder / "hf/dataset_info.json").write_text("{}")
    (folder / "hf/state.json").write_text("{}")
    for place, image in enumerate(IMAGES[:4]):
        Image.fromarray(image).save(folder / f"imgs/{place}.png")
    with (folder / "appended.npy").open("wb") as file:
        for part in range(3):
            np.save(file, X[part * 10 : part * 10 + 10])
