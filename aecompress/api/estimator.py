"""The autoencoder as an estimator of scikit-learn: raw rows in, codes, reconstructions and scores out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from aecompress.api import fitted, rows
from aecompress.api.fitted import Doubles, Trained
from aecompress.api.parameters import SOURCE, in_python, names_columns, parameters_of, resolved_of
from aecompress.data.base import Array, Raw
from aecompress.data.chosen import Blocks, Chosen
from aecompress.data.frames import table_of
from aecompress.data.sparse import SparseRows
from aecompress.data.table import Table
from aecompress.errors import DataError, InputError, SpecError, TableError

if TYPE_CHECKING:
    from aecompress.api.front import Front
    from aecompress.api.history import History
    from aecompress.runs.modules import Bring

Shares = tuple[float, float, float]
FROM_ROWS = {"n_features_in_", "feature_names_in_"}
"""Attributes that scikit-learn sets when it checks rows."""


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Train autoencoders, prune them while they learn, and use the best: an estimator of scikit-learn.

    It takes and gives raw rows; scaling is fitted and kept inside. ``transform`` gives latent codes,
    ``inverse_transform`` rows of codes, ``reconstruct`` both. ``score_samples`` gives the reconstruction error of each
    row with its sign changed, since in scikit-learn more is better; ``predict`` gives -1 for a row whose error is above
    a threshold, else 1. Rows may be an array, a frame of pandas, polars or pyarrow, a sparse matrix of scipy, a torch
    tensor, Dataset or DataLoader, or the path of a file.

    Parameters have the names of the command line's flags, and its defaults; the same rows and parameters give the same
    weights. ``aecompress spec`` describes every one.

    Args:
        mode: "coevo", a ring of encoders and decoders, or "canonical", one autoencoder.
        network: "default", dense layers; "conv", convolutions over images or series, by the shape of a row; "pca", the
            principal components, of which nothing is trained unless ``epochs`` says so; or one of the paper.
        hidden: sizes of the encoder's hidden layers, which the decoder mirrors; "auto": by the number of inputs.
        latent: size of the code; "auto": by that of the layer before it.
        family: "plain", "denoising" or "variational".
        epochs: passes over the training rows; "auto": 8 to 200, by their number.
        batch: rows per step.
        learning_rate: Adam's peak rate.
        loss: "l1", "mse", "bce", "huber" or "bce-then-l1"; "auto": by the rows.
        bits: bits of a weight, 1 to 8; 0: float32.
        cells: models that evolve together, each with a sparsity of its own.
        operator: which weights are pruned first; "auto": "obd-root" of models that begin as principal
            components, "obd" of networks with convolutions, else "magnitude".
        schedule: how pruning develops over the epochs.
        target_sparsity: share of all weights and biases that are zero at the end; "auto": 0.8.
        granularity: "weight" or "unit", whole hidden units.
        regrowth: share of kept weights that each prune exchanges.
        max_loss_increase: most that the loss may lie above a dense model's, such as 0.05; 0: no limit.
        split: shares of the rows for training, validation and test.
        scaling: "auto", "none", "minmax" or "standard"; fitted on training rows.
        label: column of a frame that says which rows are anomalies: no input, and such rows are not trained on.
        missing: "error", "drop", "median" or "mean", for missing cells.
        dates: "error", "drop" or "cyclic", for columns of dates.
        categories: "error", "drop" or "one-hot", for columns of texts.
        quantile: share of the training rows that count as normal, which sets the threshold of ``predict``.
        device: "auto", "cpu", "cuda" or "mps".
        compile: "auto", "on" or "off".
        settings: any other field of a spec, dotted or nested: ``{"train.warmup": 0.2}``.
        random_state: seed of all draws; None: another one in every fit.
        verbose: 1 prints the progress, or shows it in a notebook.

    Attributes:
        front_: the models that no other has both a lower loss and fewer non-zeros than, one row each.
        history_: losses and sparsity by epoch.
        report_: metrics, sparsity and sizes of the model.
        n_features_in_: number of columns of the rows.
        feature_names_in_: their names, where they have names.
        n_iter_: epochs.
        offset_: what ``decision_function`` subtracts from ``score_samples``.
    """

    def __init__(
        self,
        *,
        mode: str = "coevo",
        network: str = "default",
        hidden: str | int | Sequence[int] = "auto",
        latent: str | int = "auto",
        family: str = "plain",
        epochs: str | int = "auto",
        batch: str | int = "auto",
        learning_rate: str | float = "auto",
        loss: str = "auto",
        bits: int = 0,
        cells: int = 4,
        operator: str = "auto",
        schedule: str = "cubic",
        target_sparsity: str | float = "auto",
        granularity: str = "weight",
        regrowth: str | float = "auto",
        max_loss_increase: float | str = 0.0,
        split: Shares = (0.8, 0.1, 0.1),
        scaling: str = "auto",
        label: str = "",
        missing: str = "error",
        dates: str = "error",
        categories: str = "one-hot",
        quantile: float = 0.99,
        device: str = "auto",
        compile: str = "auto",
        settings: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        verbose: int = 0,
    ) -> None:
        self.mode = mode
        self.network, self.hidden, self.latent = network, hidden, latent
        self.family = family
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.loss = loss
        self.bits = bits
        self.cells = cells
        self.operator = operator
        self.schedule = schedule
        self.target_sparsity = target_sparsity
        self.granularity = granularity
        self.regrowth = regrowth
        self.max_loss_increase = max_loss_increase
        self.split = split
        self.scaling = scaling
        self.label = label
        self.missing = missing
        self.dates = dates
        self.categories = categories
        self.quantile = quantile
        self.device = device
        self.compile = compile
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, validation: Any = None) -> Self:
        """Train and prune on raw rows; nothing is written. Scaled rows stay in memory, for :meth:`export`.

        Args:
            X: rows ``[N, D]`` or ``[N, ...]``, or a path.
            y: ignored.
            validation: rows to choose models by, as ``X``; None: a share of ``X`` (``split``).

        Raises:
            InputError: a parameter or the rows cannot be used; a ValueError.
            RunError: every model is lost.
        """
        return self._fit(X, validation, {}, None)

    def _fit(self, X: Any, validation: Any, begun: Mapping[str, Any], bring: Bring | None) -> Self:
        """Train on raw rows, from a model that is brought in.

        Args:
            begun: fields of a spec, beside those of the rows.
            bring: how the model comes in; None: it is drawn.
        """
        from aecompress.api.training import train

        with usable():
            data, raw = self._given(X, validation)
            spec = resolved_of(self.get_params(deep=False), self._seed(), {**data, **begun})
            trained = train(spec, raw, self.verbose, bring)
        return self._take(trained)

    def transform(self, X: Any) -> NDArray[np.floating[Any]]:
        """Return latent codes ``[N, L]`` of raw rows: float32 of an array of float32, else float64.

        A model of windows gives a code for each window of the series that ``X`` is.
        """
        model, given = self._trained.model, self._read(X)
        codes = fitted.by_block(given, lambda block: fitted.encode(model, fitted.scaled(model, block)))
        return codes.astype(dtype_of(given), copy=False)

    def inverse_transform(self, Z: Any) -> NDArray[np.floating[Any]]:
        """Return raw rows of latent codes ``[N, L]``, in the shape of the rows that were trained on."""
        trained = self._trained
        codes = check_array(Z, dtype=(np.float64, np.float32), input_name="Z", estimator=self)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"Z has {codes.shape[1]} columns, but Autoencoder expects codes of {self._n_features_out}")
        found = fitted.by_block(Chosen(codes), lambda block: fitted.decode(trained.model, block.astype(np.float64)))
        return found.astype(codes.dtype, copy=False).reshape(-1, *trained.row_shape)

    def reconstruct(self, X: Any) -> NDArray[np.floating[Any]]:
        """Return raw rows encoded and decoded, in raw units."""
        trained, given = self._trained, self._read(X)
        model = trained.model

        def value(block: Array) -> Doubles:
            return fitted.decode(model, fitted.encode(model, fitted.scaled(model, block)))

        found = fitted.by_block(given, value)
        return found.astype(dtype_of(given), copy=False).reshape(-1, *trained.row_shape)

    def score_samples(self, X: Any) -> Doubles:
        """Return minus the reconstruction error of each row ``[N]``, in scaled units: the higher, the more normal.

        The error is the mean over the inputs of |difference| where the loss is l1, else of its square, as that of
        ``scorer.onnx``.
        """
        trained, given = self._trained, self._read(X)
        model = trained.model
        return -fitted.by_block(given, lambda block: fitted.errors(model, trained.metric, fitted.scaled(model, block)))

    def decision_function(self, X: Any) -> Doubles:
        """Return how far each row is inside the threshold ``[N]``: ``score_samples(X) - offset_``, below 0 outside.

        Raises:
            InputError: the model was loaded from a folder that has no threshold.
        """
        check_is_fitted(self)
        if not hasattr(self, "offset_"):
            raise InputError(
                "the model's folder has no threshold of its errors: export the model with variants=['scorer'] "
                "(--variants scorer), or set offset_ to minus the largest error of a normal row"
            )
        found: Doubles = self.score_samples(X) - self.offset_
        return found

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return 1 for each normal row and -1 for each anomaly ``[N]``."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of :meth:`score_samples`: minus the loss on ``X``. Ignores ``y``."""
        return float(self.score_samples(X).mean())

    @property
    def front_(self) -> Front:
        """Return the models that no other has both a lower loss and fewer non-zeros than, fewest non-zeros first."""
        return self._trained.table

    @property
    def history_(self) -> History:
        """Return losses and sparsity by epoch.

        Raises:
            AttributeError: the model was loaded from a model folder, which does not have them.
        """
        history = self._trained.history
        if history is None:
            raise AttributeError("history_: a model folder does not have it; load the run folder")
        return history

    @property
    def report_(self) -> dict[str, Any]:
        """Return metrics on each split, sparsity and sizes of the model."""
        return fitted.report(self._trained)

    def pick(self, which: str) -> Autoencoder:
        """Return another model of the front as a fitted estimator.

        Args:
            which: "knee", "sparsity=0.9", "loss<=0.01" or "bytes<=40000", as ``aecompress export --pick``.

        Raises:
            InputError: it is none of these, or no model meets it.
        """
        from aecompress.api.training import picked

        with usable():
            trained = picked(self._trained, which)
        other = type(self)(**self.get_params(deep=False))
        for name in FROM_ROWS & vars(self).keys():
            setattr(other, name, getattr(self, name))
        return other._take(trained)

    def export(
        self, folder: str | PathLike[str], variants: Sequence[str] = (), *, force: bool = False
    ) -> dict[str, Path]:
        """Write the model folder, as ``aecompress prune`` does, and return its files by kind; each is verified.

        A variant that is not kept, because it is not smaller or loses too much, is named in a warning.

        Args:
            variants: files beside the three plain ones, such as "packed", "int8" or "scorer".
            force: replace what an earlier export wrote there.

        Raises:
            InputError: there is no such variant, or no rows: the model was loaded from its folder, or unpickled.
            OutputError: the folder is in use.
            VerifyError: a file is not the model.
        """
        from aecompress.api.training import export

        limit = -self.offset_ if hasattr(self, "offset_") else None
        with usable():
            return export(replace(self._trained, threshold=limit), Path(folder), tuple(variants), force)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Self:
        """Return the model of a model folder, a run folder or a member of a front, fitted; training rows are not read.

        Raises:
            InputError: the folder holds no complete model, or one that was changed.
        """
        from aecompress.api.loading import loaded

        with usable():
            spec, trained = loaded(Path(folder))
        found = cls(**({} if spec is None else parameters_of(spec)))
        return found._take(trained)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_state" in state:  # the rows stay where they are
            state = state | {"_state": fitted.without_rows(state["_state"])}
        return state

    @property
    def _trained(self) -> Trained:
        check_is_fitted(self)
        state: Trained = self._state
        return state

    @property
    def _n_features_out(self) -> int:
        return fitted.latent_size(self._trained.model)

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in vars(self)

    def _take(self, trained: Trained) -> Self:
        self._state = trained
        self.n_iter_ = trained.epochs
        if not hasattr(self, "n_features_in_"):
            self.n_features_in_ = trained.columns
        if trained.column_names and not hasattr(self, "feature_names_in_"):
            self.feature_names_in_ = np.array(trained.column_names, dtype=object)
        if trained.threshold is not None:
            self.offset_ = -trained.threshold
        return self

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _given(self, X: Any, validation: Any) -> tuple[dict[str, Any], Raw[Any] | None]:
        """Return the fields of a spec that the rows set, and the rows where they are in memory."""
        for name in FROM_ROWS & vars(self).keys():
            delattr(self, name)
        if rows.is_path(X) or rows.is_path(validation):
            if not rows.is_path(X) or not (validation is None or rows.is_path(validation)):
                raise DataError("validation: is a path where X is none, or the other way around; give both as paths")
            return {"data.source": str(X)} | ({} if validation is None else {"data.val": str(validation)}), None
        train = self._checked(X, reset=True)
        kept = rows.from_sparse(train, keep=validation is None) if rows.library_of(train) == "scipy" else train
        held = None if validation is None else self._held_out(validation, train)
        names = tuple(map(str, getattr(self, "feature_names_in_", ())))
        source = f"interactions:{SOURCE}" if isinstance(kept, SparseRows) else SOURCE
        return {"data.source": source}, Raw(name=SOURCE, train=kept, validation=held, inputs=names)

    def _checked(self, X: Any, reset: bool) -> Any:
        """Return rows as an array ``[N, ...]``, a table, or a csr matrix of scipy, checked as scikit-learn does."""
        X = rows.collected(X)
        if rows.is_table(X) or (reset and rows.has_columns(X) and names_columns(self.get_params(deep=False))):
            return table_of(X)
        shape = X.shape[1:] if isinstance(X, np.ndarray) and X.ndim > 2 else None
        flat = X.reshape(len(X), -1) if shape is not None else X
        try:
            found = validate_data(
                self,
                flat,
                reset=reset,
                accept_sparse="csr",
                ensure_min_samples=2 if reset else 1,
                ensure_all_finite=True if self.missing == "error" else "allow-nan",
            )
        except ValueError as fault:
            if "contains NaN" in str(fault):
                cure = "missing='median' or 'mean' fills such cells, 'drop' leaves out their rows"
                raise InputError(f"Input X contains NaN, a missing value; {cure}") from fault
            raise
        return found if shape is None else found.reshape(-1, *shape)

    def _held_out(self, validation: Any, train: Any) -> Any:
        """Return validation rows in the form of the training rows."""
        if isinstance(train, Table):
            return table_of(validation)
        found = self._checked(validation, reset=False)
        return rows.from_sparse(found, keep=False) if rows.library_of(found) == "scipy" else found

    def _read(self, X: Any) -> Blocks | SparseRows:
        """Return raw rows of a fitted estimator ``[N, D]``."""
        trained = self._trained
        with usable():
            if rows.is_path(X):
                return fitted.from_file(trained, str(X))
            X = rows.collected(X)
            if trained.encoded and rows.has_columns(X):  # of numbers alone too: its columns are known by their names
                return fitted.from_memory(trained, table_of(X))
            found = self._checked(X, reset=False)
            if rows.library_of(found) == "scipy":
                found = rows.from_sparse(found, keep=True)
            return found if isinstance(found, SparseRows) else fitted.from_memory(trained, found)


def dtype_of(given: Blocks | SparseRows) -> type[np.floating[Any]]:
    """Return the type of what is given back for raw rows."""
    return np.float32 if not isinstance(given, SparseRows) and given.dtype == np.float32 else np.float64


@contextmanager
def usable() -> Iterator[None]:
    """Raise what is wrong with parameters and rows as the ValueError that scikit-learn expects."""
    try:
        yield
    except (SpecError, DataError) as fault:
        message = "\n".join(fault.faults) if isinstance(fault, TableError) else str(fault)
        raise InputError(in_python(message)) from fault
