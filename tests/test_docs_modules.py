"""docs/modules.md shows code that runs, and the sentence that it prints."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.commands import aecompress

PAGE = (Path(__file__).parents[1] / "docs/modules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)(?: file=(\S+))?\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_page_shows_code_that_runs_and_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [language for language, _, _ in BLOCKS] == ["python", "python", "sh", "python", "text"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, object] = {}
    try:
        for language, file, text in BLOCKS:
            if file:
                Path(file).write_text(text)
            elif language == "python":
                exec(compile(text, "docs/modules.md", "exec"), names)  # noqa: S102
            elif language == "sh":
                sparsity, *_ = capsys.readouterr().out.split()
                assert float(sparsity) == pytest.approx(0.8, abs=0.01)
                done = aecompress(*text.split()[1:], "--quiet")
                assert done.returncode == 0 and (tmp_path / "run/model/autoencoder.onnx").exists(), done.stderr
            else:
                assert capsys.readouterr().out == text
    finally:
        sys.modules.pop("net", None)
