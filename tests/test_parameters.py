import dataclasses
import inspect
import pickle
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone

import skcnn.images
import skcnn.training
from skcnn import Augmentation, FineTunedCNNClassifier
from skcnn._parameters import ParameterGroup
from skcnn._validation import check_parameters, none_or, one_of, real, whole
from skcnn.training import CosineDecay, DenseHead, EarlyStopping, LinearHead, Schedule, StepTable

GROUPS = [
    kind
    for module in (skcnn.images, skcnn.training)
    for kind in map(vars(module).get, module.__all__)
    if inspect.isclass(kind) and issubclass(kind, ParameterGroup) and kind is not Schedule
]


def make(kind):
    return kind({1: np.float32(1e-4)}) if kind is StepTable else kind()


@pytest.mark.parametrize("kind", GROUPS)
def test_a_group_is_a_value_that_searches_can_set(kind):
    group = make(kind)
    params = group.get_params()
    assert params.keys() == kind._constraints.keys() | {"optimizer"} & params.keys()
    assert clone(group, safe=False) == pickle.loads(pickle.dumps(group)) == group
    name = next(iter(params))
    marker = object()
    changed = clone(group, safe=False).set_params(**{name: marker})
    assert changed.get_params()[name] is marker, "what was given is kept as it is"
    assert group.get_params() == params
    with pytest.raises(
        ValueError, match=rf"Invalid parameter 'no' for {kind.__name__}. Valid parameters are: .*'{name}'"
    ):
        group.set_params(no=1)


def test_parameters_of_groups_are_parameters_of_the_classifier():
    groups = {
        "head": DenseHead(8),
        "augmentation": Augmentation(),
        "schedule": CosineDecay(),
        "early_stopping": EarlyStopping(),
    }
    clf = FineTunedCNNClassifier(**groups)
    changes = {"head__dropout": 0.5, "augmentation__rotation": 5, "schedule__cycles": 2, "early_stopping__patience": 9}
    changed = clone(clf).set_params(**changes)
    assert {name: changed.get_params()[name] for name in changes} == changes
    assert all(clf.get_params()[name] != value for name, value in changes.items())
    both = clf.set_params(head=LinearHead(), head__C=0.1)
    assert both.head == LinearHead(C=0.1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "head__C",
            r"head='probe' has no parameters; set 'head' to skcnn.training.LinearHead\(\) or DenseHead\(\) first",
        ),
        ("augmentation__rotation", r"augmentation=None .* set 'augmentation' to skcnn.Augmentation\(\) first"),
        ("schedule__warmup", r"CosineDecay\(\) first"),
        ("early_stopping__patience", r"EarlyStopping\(\) first"),
    ],
)
def test_parameters_of_what_has_none(name, hint):
    with pytest.raises(ValueError, match=rf"'{name}' cannot be set: .*{hint}"):
        FineTunedCNNClassifier().set_params(**{name: 1})


def test_tables_of_base_classes_are_joined_and_values_are_looked_into():
    @dataclasses.dataclass
    class Inner(ParameterGroup):
        share: float = 0.5
        _constraints: ClassVar = {"share": real(most=1)}

    class Base:
        _constraints: ClassVar = {"count": whole(), "kind": one_of("a", None)}
        count, kind, inner = 2, "a", Inner()

    class Derived(Base):
        _constraints: ClassVar = {"count": none_or(whole(least=0)), "inner": lambda name, value: None}

    check_parameters(Base())
    derived = Derived()
    derived.count = 0
    check_parameters(derived)
    derived.inner = Inner(2)
    with pytest.raises(ValueError, match="'fit__inner__share' parameter must be a number of at least 0 and at most 1"):
        check_parameters(derived, "fit__")
    derived.inner, derived.kind = None, "b"
    with pytest.raises(ValueError, match="The 'kind' parameter must be one of 'a', None. Got 'b' instead"):
        check_parameters(derived)
