"""Rank-k accuracy, how often the right label is among the k likeliest, and tables of scores."""

from __future__ import annotations

from skcnn.metrics._rank import rank_k_accuracy_score
from skcnn.metrics._rank_curve_display import RankCurveDisplay
from skcnn.metrics._rank_report import rank_report
from skcnn.metrics._scorer import make_rank_k_scorer, rank1, rank5
from skcnn.metrics._table import ScoreTable

__all__ = [
    "RankCurveDisplay",
    "ScoreTable",
    "make_rank_k_scorer",
    "rank1",
    "rank5",
    "rank_k_accuracy_score",
    "rank_report",
]
