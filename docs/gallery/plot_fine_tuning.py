"""
Fine-tuning
===========

The upper layers of a pretrained network are trained on handwritten digits: loss and
accuracy, epoch by epoch, and what is gained over the head alone.
"""

from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from skcnn import FineTunedCNNClassifier, HistoryDisplay
from skcnn.datasets import load_digits_images

digits = load_digits_images()
X_train, X_test, y_train, y_test = train_test_split(
    digits.paths[::3], digits.labels[::3], stratify=digits.labels[::3], random_state=0
)

# %%
# The head alone is what fine-tuning has to beat. A tenth of the training images is held
# out, to see the accuracy on images that are not trained on.

head = FineTunedCNNClassifier(unfreeze=0, random_state=0).fit(X_train, y_train)
tuned = FineTunedCNNClassifier(
    unfreeze=7,
    learning_rate=1e-3,
    schedule="cosine",
    validation_fraction=0.1,
    random_state=0,
    verbose=0,
).fit(X_train, y_train)
print(f"the head alone: {head.score(X_test, y_test):.3f}")
print(f"fine-tuned:     {tuned.score(X_test, y_test):.3f}")

# %%
# The dashed lines are of the images that are held out.

HistoryDisplay.from_estimator(tuned)

# %%

ConfusionMatrixDisplay.from_estimator(
    tuned, X_test, y_test, cmap="Blues", colorbar=False
)
