"""The kinds of arrays that all of `models` hands around, by name.

- `Rows`: positions of users, items or interactions.
- `Factors`: vectors as they are stored and served, in single precision.
- `Numbers`: what is computed in double precision.
- `Scores`: scores [users, items] of either precision.
- `Mask`: which entries are meant.

Trade-off: the names tell the type of the entries; shapes stand in the docstrings.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Factors = NDArray[np.float32]
Numbers = NDArray[np.float64]
Scores = NDArray[np.floating]
Mask = NDArray[np.bool_]
