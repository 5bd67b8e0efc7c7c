"""One night: its rows, files and commit, and what an earlier night spares it."""
