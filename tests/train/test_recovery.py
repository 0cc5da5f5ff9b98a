"""Problems of the loss are found, and rolling back changes what is needed."""

from tvhelpers.train.recovery import OVERFLOWS, Health


def test_a_loss_that_explodes_halves_the_learning_rate():
    health = Health()
    row = {"loss": 0.2, "grad_norm": 1.0}
    assert not any(health.check(step, row, False) for step in range(1, 30))
    before, problems = health.state(), []
    for step in range(30, 60):
        problems.append(health.check(step, {**row, "loss": 4.0}, False))
    assert any("exploded from 0.2" in problem for problem in problems)
    change = health.change(43, next(filter(None, problems)), 25, before)
    assert change == "the learning rate is halved from step 26 on"
    assert [health.rate_factor(step) for step in (24, 25, 99)] == [1, 0.5, 0.5]
    assert health.recent == before["recent"] and health.skipped == []


def test_a_gradient_that_is_not_finite_is_a_problem_unless_it_is_scaled():
    row = {"loss": 1.0, "grad_norm": float("inf")}
    assert "gradient norm of step 1 is inf" in Health().check(1, row, may_overflow=False)
    assert Health().check(1, row, may_overflow=True) == ""


def test_gradients_that_only_overflow_are_a_problem():
    health, bad = Health(), {"loss": 1.0, "grad_norm": float("nan")}
    for step in range(1, OVERFLOWS + 1):
        assert health.check(step, bad, may_overflow=True) == ""
    assert health.check(0, {**bad, "grad_norm": 1.0}, may_overflow=True) == ""  # starts again at 0
    problems = [health.check(step, bad, may_overflow=True) for step in range(1, OVERFLOWS + 2)]
    assert not any(problems[:-1]) and "gradient norm" in problems[-1]
