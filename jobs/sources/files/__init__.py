"""The files of a source: which there are, and what they hold before Spark reads them."""
