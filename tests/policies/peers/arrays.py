"""Arrays as GR00T's and Cosmos Policy's messages have them, from the facts of the protocols."""

from __future__ import annotations

import base64
import io

import numpy as np


def as_npy(value: object) -> object:
    """GR00T: the bytes of a ``.npy`` file."""
    if isinstance(value, np.ndarray):
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": file.getvalue()}
    raise TypeError(type(value))


def as_base64(value: object) -> object:
    """Cosmos Policy: json_numpy."""
    if isinstance(value, np.ndarray):
        data = base64.b64encode(value.tobytes()).decode()
        return {"__numpy__": data, "dtype": np.lib.format.dtype_to_descr(value.dtype), "shape": list(value.shape)}
    raise TypeError(type(value))
