"""The flat region of matrix sensing, which is the solution of a convex problem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib.valleys.sensing import MatrixSensing

Floats = NDArray[np.float64]


class Flattest(NamedTuple):
    """The least Tr H of all factors that interpolate.

    Attributes:
        trace: Tr H there.
        bound: a proof, by duality, that it cannot be less than this.
        matrix: the product of the factors there.
    """

    trace: float
    bound: float
    matrix: Floats


def flattest(
    problem: MatrixSensing, *, iterations: int = 20_000, tolerance: float = 1e-11
) -> Flattest:
    r"""Solve the convex problem whose solution is the flat region of matrix sensing.

    With :math:`L^2` and :math:`R^2` the means of :math:`A_i A_i^\top` and of :math:`A_i^\top A_i`,
    :math:`\operatorname{Tr} H = |L U|_F^2 + |R V|_F^2`, whose least value at a given product X is twice the nuclear
    norm of L X R: so the least of all is :math:`\min 2 |L X R|_*` over the X that meet the measurements. Solved by
    Douglas-Rachford splitting. The minimum over factors is the same if they are wide enough for the solution's rank.

    Args:
        problem: measurements and targets.
        iterations: at most so many.
        tolerance: on the last change.

    Returns:
        The minimum, with a lower bound from the dual problem.

    Raises:
        RuntimeError: if it does not converge.

    Examples:
        >>> from flatter_lib.valleys.sensing import MatrixSensing
        >>> flat = flattest(MatrixSensing(rows=6, columns=6, rank=1, measurements=24))
        >>> bool(0 <= flat.trace - flat.bound < 1e-8)
        True
    """
    A, y = problem.sensing.numpy(), problem.targets.numpy().ravel()
    L, R = (_root(np.einsum(rule, A, A) / len(A)) for rule in ("nij,nkj->ik", "nij,nik->jk"))
    shape = (problem.rows, problem.columns)
    # In Z = L X R the measurements are those with L^-1 A R^-1.
    scaled = np.linalg.inv(L) @ A @ np.linalg.inv(R)
    B = scaled.reshape(len(A), -1)
    pseudo = np.linalg.pinv(B)
    Z = pseudo @ y
    for _ in range(iterations):
        met = Z - pseudo @ (B @ Z - y)
        left, values, right = np.linalg.svd((2 * met - Z).reshape(shape), full_matrices=False)
        shrunk = (left * np.maximum(values - 1, 0)) @ right
        change = shrunk.ravel() - met
        Z = Z + change
        if np.linalg.norm(change) < tolerance:
            break
    else:
        raise RuntimeError(f"the flat region was not found in {iterations} iterations")
    dual = (met - Z) @ pseudo
    feasible = dual / max(1.0, np.linalg.norm((dual @ B).reshape(shape), 2))
    matrix = np.linalg.inv(L) @ met.reshape(shape) @ np.linalg.inv(R)
    trace = 2 * np.linalg.norm(met.reshape(shape), "nuc")
    return Flattest(float(trace), float(2 * abs(feasible @ y)), matrix)


def _root(gram: Floats) -> Floats:
    values, vectors = np.linalg.eigh(gram)
    root: Floats = (vectors * np.sqrt(values)) @ vectors.T
    return root
