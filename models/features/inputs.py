"""The types shared by all kinds of input."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

from models.features.table import Columns, TableInput
from models.features.tensor import TensorInput

#: The signature of a model.
Inputs: TypeAlias = TableInput | TensorInput
#: Raw rows: columns of a table, or one array (n, …).
RawColumns: TypeAlias = Columns | NDArray[Any]
