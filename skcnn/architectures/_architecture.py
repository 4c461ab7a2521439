"""`Architecture`: a network to train, by name or builder, with options of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from skcnn._parameters import ParameterGroup


class Architecture(ParameterGroup):
    """A network and its options, as one value. A search reaches the options as ``architecture__stages``.

    Parameters
    ----------
    network : str or callable
        A name of ``skcnn.architectures.ARCHITECTURES`` or of `keras.applications`; or a function that takes
        ``(input_shape, n_classes)`` and options, and returns a Keras model.
    **options
        Keyword arguments of the builder.

    Raises
    ------
    TypeError
        For an option that the builder does not have.

    Examples
    --------
    >>> from skcnn.architectures import Architecture
    >>> Architecture("resnet", stages=(3, 3, 3))
    Architecture('resnet', stages=(3, 3, 3))
    """

    def __init__(self, network: str | Callable[..., Any], **options: Any):
        self.network = network
        self.options = options
        self._check_options(options)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the network and all its options, those that were not given with their defaults.

        Parameters
        ----------
        deep : ignored
            For scikit-learn.

        Returns
        -------
        dict of str to any
        """
        return {"network": self.network, **self._defaults(), **self.options}

    def set_params(self, **params: Any) -> Architecture:
        """Set the network or its options. Another network begins with its own defaults.

        Parameters
        ----------
        **params
            As `get_params` names them.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For an option that the builder does not have.
        """
        network = params.pop("network", self.network)
        kept = self.options if network == self.network else {}
        self.network = network
        self._check_options(params)
        self.options = {**kept, **params}
        return self

    def _builder(self) -> Callable[..., Any] | None:
        """Return the function that builds the network; None for one of Keras's, which is not imported to look."""
        from skcnn.architectures import ARCHITECTURES  # the table names this class too

        return self.network if callable(self.network) else ARCHITECTURES.get(self.network)

    def _parameters(self) -> dict[str, inspect.Parameter] | None:
        """Return the options of the builder by name; None where it takes any."""
        builder = self._builder()
        try:
            parameters = {} if builder is None else inspect.signature(builder).parameters
        except ValueError:  # a callable that does not tell
            return None
        if builder is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return None
        # The first two are the shape of the images and the number of classes.
        return dict([*parameters.items()][2:])

    def _defaults(self) -> dict[str, Any]:
        parameters = self._parameters() or {}
        return {name: each.default for name, each in parameters.items() if each.default is not each.empty}

    def _check_options(self, options: dict[str, Any]) -> None:
        known = self._parameters()
        unknown = [] if known is None else [name for name in options if name not in known]
        if unknown:
            msg = f"{self._name()} has no option {', '.join(map(repr, unknown))}"
            raise TypeError(f"{msg}; its options are {', '.join(known or []) or 'none'}")

    def _name(self) -> str:
        return self.network if isinstance(self.network, str) else getattr(self.network, "__name__", repr(self.network))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.get_params() == other.get_params()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        defaults = self._defaults()
        changed = {name: value for name, value in self.options.items() if value != defaults.get(name, ...)}
        name = repr(self.network) if isinstance(self.network, str) else self._name()
        return f"Architecture({', '.join([name, *(f'{key}={value!r}' for key, value in changed.items())])})"
