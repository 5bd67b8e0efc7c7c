"""Networks, losses, compression and the ranker: arrays in, arrays out.

Nothing here knows Spark, Delta, MLflow or Airflow; `bundle` and `compress` alone touch the disk.
"""
