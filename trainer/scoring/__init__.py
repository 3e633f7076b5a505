"""A published model on more rows than fit into a request, or into memory."""

from __future__ import annotations

from trainer.scoring.batches import BatchScorer, score_batches

__all__ = ["BatchScorer", "score_batches"]
