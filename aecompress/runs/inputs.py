"""What a new run reads, checked before torch is imported: the folder it goes to, and its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from aecompress.data.base import print_nothing
from aecompress.data.dataset import Dataset, load
from aecompress.data.encoding import command_without
from aecompress.data.raw import check_float32
from aecompress.data.sources.many import paths_of
from aecompress.data.sources.registry import file_of
from aecompress.deploy.pretrained.code import check_trusted, code_in
from aecompress.plan.data import request_of
from aecompress.runs import folder
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import Resolved, override
from aecompress.steering import new_folder


@dataclass(frozen=True)
class Inputs:
    """A spec, its rows, and the folder of the run: nothing has been written yet."""

    resolved: Resolved
    dataset: Dataset
    folder: Path
    trusted: bool = False
    """Whether code that the spec names may be run."""


def read_inputs(
    resolved: Resolved,
    output: Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = print_nothing,
    trusted: bool = False,
) -> Inputs:
    """Read the rows of a new run, and choose its folder where none is given.

    Args:
        report: is given lines about what takes long.
        trusted: whether code that the spec names may be run; it is not run here.

    Raises:
        SpecError: the spec names code that is not trusted.
        DataError: the rows cannot be read or used, or their columns not held by float32.
        DeviceError: this machine lacks the device that the spec names; torch is imported for one that may be missing.
        OutputError: the run must not write to its folder.
    """
    check_trusted(resolved.spec.model.init, trusted)
    if output is not None:
        folder.check_output(output, force, files_of(resolved.spec))
    if resolved.spec.device not in ("auto", "cpu"):
        from aecompress.plan.device import devices_for

        devices_for(resolved.spec.device)
    resolved = unscaled(resolved)
    beside = output.parent if output is not None and output.parent.is_dir() else Path()
    dataset = load(replace(request_of(resolved.spec.data, resolved.spec.seed), scratch=beside, report=report))
    check_raw(dataset, resolved.spec)
    if output is None:
        output = new_folder(dataset.name)
        folder.check_output(output, force)
    return Inputs(resolved, dataset, output, trusted)


def unscaled(resolved: Resolved, brought: bool = False) -> Resolved:
    """Return a spec whose rows a model from elsewhere is given as they are, where no scaling was requested.

    A model of ours has its scaling beside it, and is given rows scaled as those of any run.

    Args:
        brought: whether a module in memory comes from elsewhere.
    """
    from aecompress.deploy.pretrained.safetensors import is_ours

    init, data = resolved.spec.model.init, resolved.spec.data
    requested = data.scaling != "auto" or resolved.sources.get("data.scaling", "default") != "default"
    if not (init or brought) or requested or (init and is_ours(Path(init).parent)):
        return resolved
    return override(resolved, "data.scaling", "none", f"--init {init}" if init else "the model")


def check_raw(dataset: Dataset, spec: RunSpec) -> None:
    """Refuse columns that lose too much in raw rows of float32, where the exported files take these.

    Raises:
        DataError: naming the columns and the cure.
    """
    if spec.export.embed_scaling:
        command = partial(command_without, dataset.encoding, request_of(spec.data, spec.seed))
        check_float32(spec.data.source, dataset.scaling, dataset.splits, dataset.inputs, command)


def files_of(spec: RunSpec) -> list[Path]:
    """Return the files that a run reads; names of built-in sources are none that exist."""
    data = spec.data
    code = code_in(spec.model.init)
    init = spec.model.init if code is None else str(code.file)
    sources = (file_of(data.source), *data.more, data.val, data.test, data.labels, init)
    return [path for source in sources if source for path in paths_of(source)]
