import numpy as np
import pytest

from flatter_lib.valleys import reduced_times

from ..refusals import refuses

LEVELS = {"first_level": np.exp(-1), "settling_level": 0.1}


def euler(kappa, paths, dt, horizon, seed):
    """The equation taken literally: explicit Euler-Maruyama with a complex mode."""
    rng = np.random.default_rng(seed)
    z = np.zeros(paths, dtype=complex)
    d, speed = np.ones(paths), np.zeros(paths)
    arrived, above, mean = np.full(paths, np.inf), np.zeros(paths), []
    for k in range(int(horizon / dt)):
        d, speed = d + dt * speed, speed - dt * (speed + kappa * np.abs(z) ** 2 * d)
        kick = rng.standard_normal(paths) + 1j * rng.standard_normal(paths)
        z = z - z * dt / 2 + np.sqrt(dt / 2) * kick
        arrived[np.isinf(arrived) & (d <= np.exp(-1))] = (k + 1) * dt
        above[np.abs(d) > 0.1] = (k + 1) * dt
        mean.append(d.mean())
    late = np.flatnonzero(np.abs(mean) > 0.1)[-1]
    return np.median(arrived), np.median(above), (late + 2) * dt


@pytest.mark.parametrize("kappa", [0.3, 10.0])
def test_times_are_those_of_the_equation_taken_literally(kappa):
    times = reduced_times([kappa], **LEVELS, paths=4000, generator=np.random.default_rng(1))
    literal = euler(kappa, paths=4000, dt=0.005, horizon=14 + 3.5 / kappa, seed=2)
    assert np.concatenate(times) == pytest.approx(literal, rel=0.06)


def test_small_kappa_is_the_drift():
    kappa = np.array([0.005, 0.009])
    times = reduced_times(kappa, **LEVELS, paths=300, generator=np.random.default_rng(3))
    assert times.first_passage * kappa == pytest.approx(1.0, rel=0.04)
    assert times.settling * kappa == pytest.approx(np.log(10), rel=0.04)
    assert times.settling_of_mean * kappa == pytest.approx(np.log(10), rel=0.04)


def test_large_kappa_takes_friction_out_of_first_passage():
    kappa = np.array([300.0, 900.0])
    times = reduced_times(kappa, **LEVELS, paths=3000, generator=np.random.default_rng(4))
    slope = np.diff(np.log(times.first_passage)) / np.diff(np.log(kappa))
    assert slope == pytest.approx(-1 / 3, abs=0.03)
    assert (times.settling > 4).all()
    assert (times.settling_of_mean < times.settling / 4).all()


def test_bad_arguments():
    good = {"kappa": [1.0], "paths": 2, "generator": np.random.default_rng(0), **LEVELS}
    refuses(reduced_times, good, kappa=[0.0], first_level=1.0, settling_level=0.0, paths=0)
    refuses(reduced_times, good, kappa=1.0)
