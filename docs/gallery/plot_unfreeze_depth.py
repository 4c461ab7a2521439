"""
How many layers to train
========================

A search over the number of convolution layers that are fine-tuned, counted from the
top. Each depth takes the images
through the layers below once, whatever the number of folds.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import GridSearchCV

from skcnn import FineTunedCNNClassifier
from skcnn.datasets import load_digits_images

digits = load_digits_images()
paths, labels = digits.paths[::6], digits.labels[::6]

clf = FineTunedCNNClassifier(
    epochs=10, learning_rate=1e-3, schedule="cosine", random_state=0, verbose=0
)
search = GridSearchCV(clf, {"unfreeze": [0, 1, 4, 7, 10]}, cv=3).fit(paths, labels)

# %%

table = pd.DataFrame(search.cv_results_)[
    ["param_unfreeze", "mean_test_score", "std_test_score", "mean_fit_time"]
]
table.round(3)

# %%

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
places = range(len(table))
axis.errorbar(
    places,
    table["mean_test_score"],
    yerr=table["std_test_score"],
    marker="o",
    capsize=3,
)
axis.set(
    xlabel="convolution layers that are trained", ylabel="cross-validated accuracy"
)
axis.set_xticks(places, table["param_unfreeze"].astype(str))
axis.grid(alpha=0.3)
