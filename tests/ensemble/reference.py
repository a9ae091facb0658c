"""A plain loop with ``torch.optim.SGD`` for one run, on numbers drawn from the run's streams."""

import torch

from flatter_lib.ensemble import noise_stream, row_stream


def sgd(problem, start, *, lr, momentum, label_noise, noise, batch_size, steps, seed):
    """All points of the run, (steps + 1, P)."""
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=lr, momentum=momentum)
    targets = problem.targets
    n, m = targets.shape
    batch = batch_size or n
    numbers, picks = noise_stream(seed), row_stream(seed)
    path = [w.detach().clone()]
    for _ in range(steps):
        rows = torch.arange(n)
        if batch_size:
            rows = torch.from_numpy(picks.integers(n, size=batch))
        y = targets[rows].clone()
        if noise == "label" and label_noise:
            y += label_noise * torch.from_numpy(numbers.standard_normal((batch, m)))
        optimizer.zero_grad()
        r = problem.outputs(w)[rows] - y
        (r.square().sum() / (2 * batch)).backward()
        if noise == "gaussian" and label_noise:
            w.grad += label_noise * torch.from_numpy(numbers.standard_normal(len(w)))
        optimizer.step()
        path.append(w.detach().clone())
    return torch.stack(path).numpy()
