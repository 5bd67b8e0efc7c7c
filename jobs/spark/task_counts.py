"""Counts of users that tasks hand to the driver, each task's once however often it ran.

A retried or speculative task counts the same users again, under the same number; a plain sum
would hold them twice.

Trade-off: the driver keeps two numbers for each task.
"""

from pyspark import AccumulatorParam

Counts = dict[int, tuple[int, int]]


class TaskCounts(AccumulatorParam[Counts]):
    """Users that went through a task and those of them that were scored, by the task's number."""

    def zero(self, value: Counts) -> Counts:  # noqa: ARG002
        """Return what a task starts from."""
        return {}

    def addInPlace(self, value1: Counts, value2: Counts) -> Counts:  # noqa: N802  (Spark's name)
        """Return both, the newer where a task ran twice."""
        return {**value1, **value2}
