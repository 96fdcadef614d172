"""The page, also as Debian's Chromium shows it; CI installs it."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from aecompress.errors import DataError, OutputError
from aecompress.study.report import write
from tests.tui.test_serve import CHROMIUM, FLAGS


@pytest.fixture(scope="module")
def study(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "tiny"
    shutil.copytree(finished, folder)
    return folder


def shown(page: Page, path: Path) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Open a page; return the messages of its console, the addresses it requested, and its images."""
    console: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.on("pageerror", lambda fault: console.append(str(fault)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    images = page.evaluate(
        "[...document.images].map(i => ({alt: i.alt, whole: i.complete, width: i.naturalWidth, shown: i.width}))"
    )
    return console, [url for url in requested if not url.startswith("data:")], images


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
@pytest.mark.parametrize("size", [pytest.param((1280, 900), marks=pytest.mark.slow), (390, 844)], ids=["desk", "phone"])
@pytest.mark.parametrize("of", ["study", pytest.param("run", marks=pytest.mark.slow)])
def test_a_browser_shows_every_figure_and_asks_for_nothing(study: Path, of: str, size: tuple[int, int]) -> None:
    where = study if of == "study" else study / "ring-random-seed-1"
    files = write(where)
    report = files[0][1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        console, requested, images = shown(page, report)
        wide = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert console == []
    assert requested == [report.as_uri()]
    assert len(images) == sum(kind == "figure-svg" for kind, _ in files) == (8 if of == "study" else 6)
    # Where a screen is narrower than a figure can be read, the figure is moved sideways in its place.
    assert all(image["whole"] and image["width"] > 0 and 540 <= image["shown"] <= 800 for image in images)
    assert wide <= size[0], "a phone would have to scroll sideways"


def test_the_page_of_a_study_says_what_was_found(study: Path) -> None:
    files = write(study)
    text = files[0][1].read_text()
    assert files[0] == ("report", study / "report.html")
    assert all(path.stat().st_size > 0 for _, path in files) and len(files) == 17
    for word in (
        "Ring beats one",
        "9 of 9 finished",
        "Two-sided Mann-Whitney",
        "published",
        "aecompress",
        "onnxruntime",
    ):
        assert word in text, word
    assert "Before and after" in text and "ring, variance, seed" in text and "What is the same" in text
    assert html.escape("What <does> pruning do?") in text and "What <does>" not in text
    assert ">prune.operator</td>" not in text and ">train.epochs</td>" in text and "<th>prune.operator</th>" in text
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "")


def test_the_page_of_a_run_has_the_spec_the_versions_and_the_before_and_after_table(study: Path) -> None:
    run = study / "ring-variance-seed-2"
    files = write(run, run / "pages" / "index.html")
    text = files[0][1].read_text()
    assert files[0][1] == run / "pages" / "index.html"
    for word in (
        "Before and after",
        "prune.operator",
        "variance",
        "study-file.toml",
        "torch",
        "Where the time went",
        "test_l1",
    ):
        assert word in text, word
    assert "no activation map" not in text


def test_a_run_without_rows_or_the_end_of_its_log_says_that_there_is_no_map_and_no_metric(
    study: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(study / "one-seed-1", run)
    (run / "model" / "rows.safetensors").unlink()
    log = run / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) // 2]) + lines[-1][:40])
    files = write(run)
    text = files[0][1].read_text()
    assert "no activation map" in text and "lacks the end of the run" in text and ">Metrics<" not in text
    assert not any(path.stem == "coverage" for _, path in files)


def test_a_study_half_done_says_so(study: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(study, half)
    for folder in half.glob("*seed-3"):
        shutil.rmtree(folder)
    assert "3 runs are not finished and not counted" in write(half)[0][1].read_text()


def test_a_folder_that_is_neither_or_cannot_be_written_is_named(study: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a run nor a study"):
        write(tmp_path)
    with pytest.raises(OutputError, match="is a folder"):
        write(study, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(study, tmp_path / "file" / "report.html")
