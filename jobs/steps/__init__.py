"""The verbs: one module a step, each with `run`."""
