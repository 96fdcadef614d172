"""Contradictions: faults between fields that are each valid."""

from __future__ import annotations

import re

from aecompress.spec.fields import PruneSpec, RunSpec, drive_of


def contradictions(spec: RunSpec) -> list[str]:
    """Faults between fields that are each valid."""
    faults = []
    if abs(sum(spec.data.split) - 1) > 1e-6:
        faults.append(f"data.split = {list(spec.data.split)}: the three shares must add up to 1")
    elif spec.data.split[0] == 0:
        faults.append(f"data.split = {list(spec.data.split)}: the first share, of training rows, must be above 0")
    if spec.export.opset < 18 and "packed" in spec.export.variants:
        faults.append(f"export.opset = {spec.export.opset}: packed files need the operators of 18; choose 18 or more")
    if spec.train.epochs == 0:
        if not spec.model.init:
            faults.append("train.epochs = 0: prunes a model that was trained before; name it as model.init (--init)")
        if drive_of(spec.prune) == "probability" or spec.prune.operator == "variance":
            faults.append(
                "train.epochs = 0: there is no training to watch; drop prune.probability, and choose another operator "
                "than 'variance'"
            )
    limits = spec.budget.max_params or spec.budget.max_bytes or spec.budget.max_loss_increase
    if limits and (drive_of(spec.prune) == "probability" or spec.prune.operator == "none"):
        faults.append("budget: is met by pruning to a target; drop prune.probability, and choose a prune.operator")
    if spec.budget.min_sparsity not in ("auto", 0) and not spec.budget.max_loss_increase:
        faults.append(
            f"budget.min_sparsity = {spec.budget.min_sparsity}: is asked of models within budget.max_loss_increase; "
            "give that too, or ask for prune.target_sparsity"
        )
    if spec.prune.start >= (1 if spec.prune.end == "auto" else spec.prune.end):
        faults.append(
            f"prune.start = {spec.prune.start} and prune.end = {spec.prune.end}: pruning must start before it ends"
        )
    if bool(spec.model.encoder) != bool(spec.model.decoder):
        given, missing = ("encoder", "decoder") if spec.model.encoder else ("decoder", "encoder")
        faults.append(f"model.{missing} = []: model.{given} is written layer by layer, so write model.{missing} too")
    elif spec.model.encoder and (spec.model.hidden, spec.model.latent) != ("auto", "auto"):
        faults.append("model.hidden and model.latent: leave both out when model.encoder and model.decoder are given")
    output = spec.model.decoder[-1].activation if spec.model.decoder else spec.model.output
    if spec.train.loss in ("bce", "bce-then-l1") and output not in ("auto", "sigmoid"):
        faults.append(f"train.loss = {spec.train.loss!r}: cross-entropy needs model.output = 'sigmoid', not {output!r}")
    faults += _pruning_contradictions(spec.prune)
    if spec.data.source.startswith("interactions:"):
        faults += [
            f"{path} = {value!r}: interactions are split by user and stay 0 and 1; leave it out"
            for path, value, plain in (
                ("data.key", spec.data.key, ""),
                ("data.val", spec.data.val, ""),
                ("data.test", spec.data.test, ""),
                ("data.labels", spec.data.labels, ""),
                ("data.scaling", spec.data.scaling, spec.data.scaling if spec.data.scaling == "none" else "auto"),
            )
            if value != plain
        ]
        if spec.compile == "on":
            faults.append("compile = 'on': rows of interactions are trained uncompiled; leave it out")
    rule = spec.evolve.rule if spec.mode == "coevo" else ""
    if rule in ("opponents", "panmictic"):
        if spec.compile == "on":
            faults.append(
                f"compile = 'on': networks that change partners train uncompiled under {rule!r}; leave it out"
            )
        if spec.train.epochs == 0:
            faults.append(f"train.epochs = 0: evolve.rule = {rule!r} is a way of training; choose 'pair'")
    if rule == "panmictic" and spec.prune.per_generation not in ("auto", 1):
        faults.append(
            f"prune.per_generation = {spec.prune.per_generation}: a panmictic population is pruned once all pairs have "
            "trained; set it to 1"
        )
    if spec.mode == "coevo" and spec.evolve.rule == "pair-prune-first":
        if spec.prune.operator == "variance":
            faults.append(
                "prune.operator = 'variance': needs activations of several batches, and pair-prune-first prunes after "
                "one; choose evolve.rule = 'pair' or another operator"
            )
        if spec.prune.masks == "free" and drive_of(spec.prune) == "target" and spec.prune.operator != "none":
            faults.append(
                "prune.masks = 'free': pair-prune-first trains after the last prune, so the target would be missed; "
                "choose evolve.rule = 'pair' or prune.masks = 'fixed'"
            )
    for name in ("val", "test"):
        if getattr(spec.data, name) == "-":
            faults.append(f"data.{name} = '-': standard input gives the rows of DATA alone; name a file")
    if spec.precision == "float64" and spec.compile == "on":
        faults.append("compile = 'on': compiled training is in float32; set precision to float32 or compile to auto")
    if spec.precision == "float64" and spec.device == "mps":
        faults.append("precision = 'float64': MPS has none; choose float32 or --device cpu")
    if spec.model.family == "variational":
        latent = spec.model.encoder[-1].activation if spec.model.encoder else spec.model.latent_activation
        if latent not in ("auto", "identity"):
            faults.append(
                f"model.latent_activation = {latent!r}: the variational family samples its latent "
                "code, which needs 'identity'"
            )
        if spec.train.loss == "bce-then-l1":
            faults.append("train.loss = 'bce-then-l1': the variational family keeps one loss; choose 'bce'")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,2})?", spec.device, re.ASCII):
        faults.append(f"device = {spec.device!r}: choose auto, cpu, cuda, cuda:N or mps")
    return faults


def _pruning_contradictions(prune: PruneSpec) -> list[str]:
    faults = []
    target = prune.target_sparsity
    if prune.regrowth not in ("auto", 0) and (prune.masks == "free" or drive_of(prune) == "probability"):
        faults.append(
            f"prune.regrowth = {prune.regrowth}: exchanges weights under masks that last, on the way to a target; "
            "leave out prune.masks and prune.probability, or set it to 0"
        )
    if prune.operator == "none" and target not in ("auto", 0):
        faults.append(
            f"prune.operator = 'none': cannot reach prune.target_sparsity = {target}; "
            "choose an operator or set the target to 0"
        )
    if drive_of(prune) == "probability":
        if target not in ("auto", 0):
            faults.append(
                f"prune.target_sparsity = {target}: cannot be asked for while prune.drive is 'probability'; leave out "
                "the target or the probability, or set prune.drive to 'target' and prune.form to 'score'"
            )
        if prune.schedule == "cubic":
            faults.append("prune.schedule = 'cubic': is a rise to a target, not a probability; choose another schedule")
        if prune.form == "score":
            faults.append(
                "prune.form = 'score': needs exact counts, which a probability does not give; "
                "set prune.form to 'published' or prune.drive to 'target'"
            )
        if prune.per_generation not in ("auto", 1):
            faults.append(f"prune.per_generation = {prune.per_generation}: a probability is drawn once; set it to 1")
    elif prune.form == "published":
        faults.append(
            "prune.form = 'published': prunes by chance, not to a target; "
            "set prune.drive to 'probability' or prune.form to 'score'"
        )
    published = prune.form == "published" or (prune.form == "auto" and drive_of(prune) == "probability")
    if published and prune.operator == "magnitude":
        faults.append("prune.operator = 'magnitude': has no published form; choose random, variance or conjunctive")
    if published and prune.granularity == "unit":
        faults.append(
            "prune.granularity = 'unit': the published forms say themselves what they cut; set it to 'weight'"
        )
    return faults
