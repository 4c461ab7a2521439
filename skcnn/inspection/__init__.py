"""Pictures of a training and of augmented images, and tables of predictions."""

from skcnn.inspection._augmentation_display import AugmentationDisplay
from skcnn.inspection._history_display import HistoryDisplay
from skcnn.inspection._prediction_table import prediction_table
from skcnn.inspection._training_monitor import TrainingMonitor

__all__ = ["AugmentationDisplay", "HistoryDisplay", "TrainingMonitor", "prediction_table"]
