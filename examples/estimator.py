"""Use the autoencoder as scikit-learn's estimators are used: python estimator.py [MODEL_FOLDER]"""

import sys

import numpy as np
from sklearn.datasets import load_digits

from aecompress import Autoencoder

folder = sys.argv[1] if len(sys.argv) > 1 else "runs/estimator/model"
X = load_digits().data
X, X_val = X[:800], X[800:1000]

ae = Autoencoder(target_sparsity=0.9, epochs=30, random_state=0).fit(X, validation=X_val)
Z, X_hat, error = ae.transform(X), ae.reconstruct(X), -ae.score_samples(X)
print("codes", Z.shape, "reconstructions", X_hat.shape, "mean error", round(float(error.mean()), 4))
print("anomalies", int(np.sum(ae.predict(255 - X) == -1)), "of", len(X), "inverted digits")
print(ae.front_)
knee = ae.pick("knee")
print(f"knee: {knee.report_['sparsity']:.1%} sparsity, validation mse {knee.report_['metrics']['validation_mse']:.4f}")
files = ae.export(folder, variants=["packed", "scorer"], force=True)
print("files", ", ".join(path.name for path in files.values()))
same = Autoencoder.load(folder)
print("the same after loading", bool(np.array_equal(same.transform(X), Z)))
