"""Pictures of what is trained, and of what it is trained on."""

from skcnn.inspection._augmentation_display import AugmentationDisplay
from skcnn.inspection._history_display import HistoryDisplay
from skcnn.inspection._training_monitor import TrainingMonitor

__all__ = ["AugmentationDisplay", "HistoryDisplay", "TrainingMonitor"]
