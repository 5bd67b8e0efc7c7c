"""Why a score is what it is: its parts, and the one that is named as the reason."""
