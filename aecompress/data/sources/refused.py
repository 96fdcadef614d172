"""Files that are known and not read: what they are, and how they become rows."""

from __future__ import annotations

from aecompress.errors import DataError

LFS = b"version https://git-lfs.github.com/spec/"
_FRAME = "import pandas; pandas.{read}({file!r}).to_csv('rows.csv', index=False)"
_PICKLE = _FRAME.replace("{read}", "read_pickle")
_SVM = (
    "from sklearn.datasets import load_svmlight_file as load; from scipy.sparse import save_npz; "
    "save_npz('rows.npz', load({file!r})[0])"
)
CURES = {
    ".xlsx": ("an Excel file", _FRAME.replace("{read}", "read_excel")),
    ".xls": ("an Excel file", _FRAME.replace("{read}", "read_excel")),
    ".ods": ("a spreadsheet", _FRAME.replace("{read}", "read_excel")),
    ".arff": (
        "an ARFF file",
        "import pandas; from scipy.io import arff; "
        "pandas.DataFrame(arff.loadarff({file!r})[0]).to_csv('rows.csv', index=False)",
    ),
    ".libsvm": ("a file of libsvm", _SVM),
    ".svmlight": ("a file of libsvm", _SVM),
    ".svm": ("a file of libsvm", _SVM),
    ".pkl": ("a pickle, which may run any code", _PICKLE),
    ".pickle": ("a pickle, which may run any code", _PICKLE),
    ".joblib": ("a pickle, which may run any code", _PICKLE),
    ".dta": ("a file of Stata", _FRAME.replace("{read}", "read_stata")),
    ".sas7bdat": ("a file of SAS", _FRAME.replace("{read}", "read_sas")),
    ".sav": ("a file of SPSS", _FRAME.replace("{read}", "read_spss")),
    ".orc": ("an ORC file", _FRAME.replace("{read}", "read_orc")),
    ".xml": ("an XML file", _FRAME.replace("{read}", "read_xml")),
    ".html": ("a page of HTML", _FRAME.replace("{read}({file!r})", "read_html({file!r})[0]")),
}
"""Formats by ending: what they are, and the line of Python that converts them, of which only the file is filled in."""
CONTENTS = {
    b"\xd0\xcf\x11\xe0": ".xls",
    b"\x80\x03": ".pkl",
    b"\x80\x04": ".pkl",
    b"\x80\x05": ".pkl",
    b"@relation": ".arff",
    b"@RELATION": ".arff",
    b"<!DOCTYPE html": ".html",
    b"<html": ".html",
    b"<?xml": ".xml",
    b"ORC": ".orc",
}


def check_known(where: str, name: str, head: bytes) -> None:
    """Refuse a file that is known not to hold rows that are read.

    Raises:
        DataError: with the line that converts it, or what to do instead.
    """
    if head.startswith(LFS):
        raise DataError(f"{where}: is a pointer of Git LFS, not the data; get these by git lfs pull")
    if head[257:262] == b"ustar":
        raise DataError(f"{where}: is a tar archive; unpack it by tar -xf, and name the files in it")
    ending = next((ending for ending in CURES if name.lower().endswith(ending)), "")
    ending = next((kind for magic, kind in CONTENTS.items() if head.startswith(magic)), ending)
    if ending and not (ending == ".pkl" and name.lower().endswith((".pt", ".pth", ".npy"))):
        what, line = CURES[ending]
        raise DataError(f'{where}: is {what}; convert it: python -c "{line.replace("{file!r}", repr(where))}"')
