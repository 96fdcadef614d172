"""Train and prune from Python, then use the model as a torch module: python python_api.py [RUN_FOLDER]"""

import sys

import torch

import aecompress

folder = sys.argv[1] if len(sys.argv) > 1 else "runs/python-api"
spec = {"data.source": "digits", "evolve.cells": 4, "train.epochs": 10, "prune.target_sparsity": 0.7}
for event in aecompress.run(spec, folder, force=True):
    if event.kind == "generation":
        print(f"epoch {event.generation}: {event.metric} {min(event.validation_loss):.4f}")

model = aecompress.load(folder)
with torch.no_grad():
    rows = model.scale(torch.rand(3, 64))
    print("latent codes", tuple(model.encode(rows).shape), "reconstructions", tuple(model(rows).shape))
