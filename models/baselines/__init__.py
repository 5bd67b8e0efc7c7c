"""What every model has to beat: popularity, EASE and factorisation."""
