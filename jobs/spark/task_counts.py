"""Counts of users that tasks hand to the driver, each task's once however often it ran.

A retried or speculative task counts the same users again, under the same number; a plain sum
would hold them twice.

Trade-off: the driver keeps three numbers for each task.
"""

from pyspark import AccumulatorParam

Counts = dict[int, tuple[int, int, int]]


class TaskCounts(AccumulatorParam[Counts]):
    """By a task's number: users that went through it, users scored, pairs scored in 32 bits."""

    def zero(self, value: Counts) -> Counts:  # noqa: ARG002
        """Return what a task starts from."""
        return {}

    def addInPlace(self, value1: Counts, value2: Counts) -> Counts:  # noqa: N802  (Spark's name)
        """Return both, the newer where a task ran twice."""
        return {**value1, **value2}
