"""Parameters that belong together as one value, and parameters as they were when an estimator was fitted."""

from __future__ import annotations

import copy
import inspect
from typing import Any, ClassVar


class ParameterGroup:
    """Base of values that stand in a parameter of an estimator and have parameters themselves.

    A subclass is a dataclass. ``clf.set_params(augmentation__rotation=10)`` and searches over
    ``augmentation__rotation`` set its parameters, as they do those of the kernel of a Gaussian process. The constructor
    keeps what it is given; the estimator checks it, by the table of the class, when it is fitted.
    """

    # The checks of parameters; see `skcnn._validation.check_parameters`.
    _constraints: ClassVar[dict[str, Any]] = {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : ignored
            For scikit-learn.

        Returns
        -------
        dict of str to any
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> ParameterGroup:
        """Set parameters.

        Parameters
        ----------
        **params
            As `get_params` names them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a name that is none of a parameter.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                msg = f"Invalid parameter {name!r} for {type(self).__name__}. Valid parameters are: {[*known]}."
                raise ValueError(msg)
            setattr(self, name, value)
        return self


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
