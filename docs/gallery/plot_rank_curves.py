"""
Rank curves of several layers
=============================

Features of three layers of one network, each with the same classifier: how often the
right class is among the likeliest
ones.
"""

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skcnn import CNNFeatureExtractor, RankCurveDisplay
from skcnn.datasets import load_digits_images

digits = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(
    digits.paths[::3], digits.labels[::3], stratify=digits.labels[::3], random_state=0
)

classifiers = {}
for layer in ("block2b_add", "block5c_add", "top_activation"):
    pipe = make_pipeline(
        CNNFeatureExtractor(layer=layer), LogisticRegression(solver="newton-cg")
    )
    classifiers[layer] = pipe.fit(X_train, y_train)

# %%
# On digits, the middle of the network does as well as its end, which was made for
# photographs.

RankCurveDisplay.from_estimator(classifiers, X_test, y_test)
