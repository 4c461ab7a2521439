import pytest

from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._tail import TunableNetwork
from skcnn.features import RawPixels
from skcnn.training import CosineDecay, DenseHead, EarlyStopping, LinearHead, make_optimizer
from skcnn.training._fine_tuned_network import FineTunedNetwork
from skcnn.training._phase import ProbePhase
from skcnn.training._plan import Plan


@pytest.fixture
def network(tiny_model):
    def make(head, unfreeze=1, **settings):
        network = TunableNetwork(FrozenNetwork(resolve_backbone(tiny_model)), unfreeze)
        return FineTunedNetwork(network, head, **settings)

    return make


def plan(epochs=4, **settings):
    return Plan(epochs, make_optimizer("adam"), **settings)


def test_the_head_alone_then_with_the_layers_above_the_cut(network):
    tuned = network(LinearHead(C=0.5))
    probe, tail = tuned.phases(plan(), 3, augments=True)
    assert isinstance(probe, ProbePhase)
    assert (probe.name, probe.C, probe.trunk) == ("head", 0.5, tuned.network.features)
    assert (tail.name, tail.augments, tail.plan.epochs, tail.model.live_norm) == ("fine-tune", True, 4, False)
    assert tail.trunk is tuned.trunk
    *_, live = network(LinearHead(), live_norm=True).phases(plan(), 3, augments=False)
    assert live.model.live_norm
    assert isinstance(network(LinearHead(), "all").trunk, RawPixels)
    head, tail = network(DenseHead(5, epochs=2)).phases(plan(schedule=CosineDecay()), 3, augments=False)
    assert (head.plan.epochs, head.plan.schedule, head.augments) == (2, None, False)
    assert tail.plan.schedule == CosineDecay()


@pytest.mark.parametrize(
    ("head", "unfreeze", "epochs", "augments", "names"),
    [
        (LinearHead(), 0, 4, False, ["head"]),
        (LinearHead(), 1, 0, True, ["head"]),
        (LinearHead(), 0, 4, True, ["head", "fine-tune"]),
        (DenseHead(5, epochs=0), 1, 4, False, ["fine-tune"]),
    ],
)
def test_which_phases_there_are(network, head, unfreeze, epochs, augments, names):
    tuned = network(head, unfreeze)
    assert [phase.name for phase in tuned.phases(plan(epochs), 3, augments=augments)] == names
    assert tuned.trains_layers(plan(epochs)) == (unfreeze == 1 and epochs > 0)


def test_a_head_that_is_all_that_is_trained_has_schedule_and_stopping(network):
    settings = {"schedule": CosineDecay(), "early_stopping": EarlyStopping()}
    (only,) = network(DenseHead(5, epochs=7), 0).phases(plan(9, **settings), 3, augments=False)
    assert (only.plan.epochs, only.plan.schedule, only.plan.early_stopping) == (7, *settings.values())
    with pytest.raises(ValueError, match="nothing is left to train; set 'epochs' of the head"):
        network(DenseHead(5, epochs=0), 0).phases(plan(), 3, augments=False)


def test_what_soups_ask(network):
    assert not network(LinearHead()).begins_at_random
    assert network(DenseHead()).begins_at_random
    assert network(LinearHead()).differences(network(LinearHead(C=9))) == []
    assert network(LinearHead()).differences(network(LinearHead(), "all")) == ["unfreeze"]
