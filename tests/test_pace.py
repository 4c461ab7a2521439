import pytest

from skcnn._pace import Pace


@pytest.mark.parametrize(("share", "least", "expected"), [(0.25, 0, 4.0), (0.05, 0, 20.0), (0.5, 10, 10.0)])
def test_work_is_due_again_when_it_took_its_share_of_the_time(share, least, expected):
    now = [100.0]
    pace = Pace(share, least, clock=lambda: now[0])
    assert pace.is_due()
    with pace.timed():
        now[0] += 1
    for passed, is_due in ((0.01, False), (expected - 1.1, False), (expected - 1, True)):
        now[0] = 101 + passed
        assert pace.is_due() is is_due


def test_work_that_fails_counts():
    now = [0.0]
    pace = Pace(0.5, clock=lambda: now[0])
    with pytest.raises(OSError, match="full"), pace.timed():
        now[0] += 1
        raise OSError("full")
    assert not pace.is_due()
