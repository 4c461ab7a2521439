"""
Features and a linear classifier
================================

Features of a frozen network, classified by logistic regression, and the images that it
gets wrong.
"""

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skcnn import CNNFeatureExtractor, prediction_table, rank_report
from skcnn.datasets import load_digits_images

digits = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(
    digits.paths[::2], digits.labels[::2], stratify=digits.labels[::2], random_state=0
)

# %%
# The network sees each image once, for all 25 fits of the search.

pipe = make_pipeline(CNNFeatureExtractor(), LogisticRegression(solver="newton-cg"))
search = GridSearchCV(
    pipe, {"logisticregression__C": [0.01, 0.1, 1, 10, 100]}, cv=5
).fit(X_train, y_train)
print(search.best_params_)
print(f"cross-validated: {search.best_score_:.3f}")
print(f"held out:        {search.score(X_test, y_test):.3f}")

# %%
# Which digits are hard, and what they are mistaken for.

rank_report(
    y_test, search.predict_proba(X_test), labels=search.classes_, ranks=(1, 2)
).to_frame()

# %%
# The images that it is surest of, and wrong.

table = prediction_table(search, X_test, k=1)
wrong = (
    table[table["label"] != y_test].sort_values("probability", ascending=False).head(8)
)

figure, axes = plt.subplots(2, 4, figsize=(6.5, 3.8), layout="constrained")
for axis in axes.flat:
    axis.set_axis_off()
for axis, (index, row) in zip(axes.flat, wrong.iterrows(), strict=False):
    axis.imshow(plt.imread(row["file"]), cmap="gray")
    axis.set_title(
        f"{row['label']} ({row['probability']:.0%}), is {y_test[index]}",
        fontsize="small",
    )
