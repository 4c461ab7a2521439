"""Pictures of what was trained."""

from skcnn.inspection._history_display import HistoryDisplay

__all__ = ["HistoryDisplay"]
