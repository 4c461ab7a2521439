"""Parameters as they were when an estimator was fitted, whatever is set afterwards."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from skcnn._parameters import ParameterGroup


class FittedParameters:
    """Mixin for estimators that compute by the parameters they were fitted with.

    Others, such as `batch_size` or `cache`, change how the same is computed, and may be set at any time.
    """

    # The names of the parameters that decide what a fitted estimator computes.
    _network_parameters: ClassVar[tuple[str, ...]] = ()
    _fitted_with: dict[str, Any]

    def _keep_parameters(self) -> None:
        """Keep these parameters as they are now; values that can be changed are copied."""
        values = {name: getattr(self, name) for name in self._network_parameters}
        self._fitted_with = {
            name: copy.copy(value) if isinstance(value, ParameterGroup) else value for name, value in values.items()
        }

    def _as_fitted(self) -> Any:
        """Return this estimator with these parameters as they were when it was fitted."""
        fitted = object.__new__(type(self))
        fitted.__dict__.update(self.__dict__, **vars(self).get("_fitted_with", {}))
        return fitted
