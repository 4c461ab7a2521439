"""Pictures of a training and of augmented images, and tables of predictions and of accuracy on changed images."""

from skcnn.inspection._augmentation_display import AugmentationDisplay
from skcnn.inspection._history_display import HistoryDisplay
from skcnn.inspection._prediction_table import prediction_table
from skcnn.inspection._robustness_display import RobustnessDisplay
from skcnn.inspection._robustness_scores import CHANGES, robustness_scores
from skcnn.inspection._training_monitor import TrainingMonitor

__all__ = [
    "CHANGES",
    "AugmentationDisplay",
    "HistoryDisplay",
    "RobustnessDisplay",
    "TrainingMonitor",
    "prediction_table",
    "robustness_scores",
]
