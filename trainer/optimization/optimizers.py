"""The optimizers, in order of increasing complexity.

Each works in place on the flat parameter vector, so a step allocates nothing. It takes
one block after the other, so that the passes over a block find it in the cache.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np

from models.types import Array

OptimizerName: TypeAlias = Literal[
    "gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "adamw"
]


def clip_by_norm(gradients: Array, limit: float) -> float:
    """Scale the gradients (P,) in place to a norm of at most `limit`; return the norm.

    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """
    with np.errstate(over="ignore"):
        norm = math.sqrt(float(np.dot(gradients, gradients)))
    if math.isinf(norm):  # the square, not the length, is too large for float32
        norm = float(np.linalg.norm(gradients.astype(np.float64)))
    if norm > limit:
        gradients *= limit / norm
    return norm


#: Numbers in a block: five vectors of this size (parameters, gradient, two of state,
#: scratch) fit in a cache of 4 MB. Smaller blocks were not faster.
BLOCK = 1 << 17
#: This many neighbouring parameters with the same rate and decay get their own block:
#: it takes both as scalars, which saves a pass over memory for each.
ALIKE = 1 << 14
#: Every FLUSH steps, state numbers smaller than FORGOTTEN become 0. With a decay rate
#: of 0.75 or more they cannot become subnormal in float32 (1e-38) in between, and they
#: are too small to change a step (epsilon is 1e-8).
FLUSH, FORGOTTEN = 64, 1e-30


class _Block(NamedTuple):
    """A part of the flat vectors; its rates and decay, a scalar or one per number."""

    here: slice
    rate: float | Array
    decay: float | Array


class Optimizer(ABC):
    """An update rule with its state, for P parameters.

    `decay` (P,) is a factor of `weight_decay`: 1 for weights, 0 for biases and gains.
    All rules except AdamW add weight_decay * parameter to the gradient, which is the
    gradient of an L2 penalty. `rates` (P,) are factors of the learning rate, or None if
    all are 1.

    A subclass names in `state_names` the vectors (P,) that one step leaves for the
    next, in `settings` the settings of `train.*` that its constructor takes, and gives
    the default learning rate of a plain network, and that for tiny data if it differs.
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()
    default_learning_rate: ClassVar[float]
    tiny_data_learning_rate: ClassVar[float | None] = None

    def __init__(
        self,
        n: int,
        decay: Array,
        weight_decay: float = 0.0,
        rates: Array | None = None,
    ) -> None:
        self.weight_decay = weight_decay
        self.steps = 0
        one = np.ones_like(decay)
        rates = one if rates is None else rates
        self._blocks = list(_blocks(rates, decay if weight_decay else one))
        self._scratch = np.empty(min(n, BLOCK), decay.dtype)

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        """Update the parameters (P,) in place; the gradients (P,) may change too."""
        self.steps += 1
        flush = self.steps % FLUSH == 0
        for here, rate, decay in self._blocks:
            P, G = parameters[here], gradients[here]
            scratch = self._scratch[: len(P)]
            if flush:
                self._flush(here, scratch)
            if self.weight_decay:
                self._shrink(P, G, self.weight_decay * decay, learning_rate, scratch)
            factor = self._step_direction(G, here, scratch)
            scratch *= learning_rate * factor * rate
            P -= scratch

    def _flush(self, here: slice, scratch: Array) -> None:
        """Set state numbers to 0 that decayed since their gradients became zero.

        Otherwise they would become subnormal, and a processor is many times slower with
        such numbers: pixels that are nearly always black would double a run's time.
        """
        for name in self.state_names:
            memory = getattr(self, name)[here]
            memory[np.abs(memory, out=scratch) < FORGOTTEN] = 0.0

    def _shrink(
        self, P: Array, G: Array, decay: float | Array, rate: float, scratch: Array
    ) -> None:
        """Apply the weight decay to the parameters P or their gradients G, in place."""
        np.multiply(P, decay, out=scratch)
        G += scratch

    @abstractmethod
    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        """Write the direction to step against to `out`; return a factor for it."""


def _blocks(rates: Array, decay: Array) -> Iterator[_Block]:
    """Divide the vectors (P,) into blocks; ALIKE or more equal ones stand apart."""
    n = len(decay)
    changes = np.flatnonzero(np.diff(rates) != 0) + 1
    changes = np.union1d(changes, np.flatnonzero(np.diff(decay) != 0) + 1)
    ends = [0, *changes.tolist(), n]
    cuts = {0, n}
    for start, stop in itertools.pairwise(ends):
        if stop - start >= ALIKE:
            cuts |= {start, stop}
    for start, stop in itertools.pairwise(sorted(cuts)):
        for first in range(start, stop, BLOCK):
            here = slice(first, min(first + BLOCK, stop))
            yield _Block(here, _one(rates[here]), _one(decay[here]))


def _one(values: Array) -> float | Array:
    """Return a scalar if all values are equal, otherwise the values."""
    return float(values[0]) if (values == values[0]).all() else values


class GradientDescent(Optimizer):
    """p ← p − η g"""

    default_learning_rate = 0.1

    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        np.copyto(out, G)
        return 1.0


class Momentum(Optimizer):
    """v ← μ v + g, p ← p − η v, with p, v and g (P,) (Polyak 1964)"""

    state_names = ("velocity",)
    settings = ("momentum",)
    default_learning_rate = 0.01

    def __init__(
        self,
        n: int,
        decay: Array,
        weight_decay: float = 0.0,
        rates: Array | None = None,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(n, decay, weight_decay, rates)
        self.momentum = momentum
        self.velocity = np.zeros(n, decay.dtype)

    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        velocity = self.velocity[here]
        velocity *= self.momentum
        velocity += G
        np.copyto(out, velocity)
        return 1.0


class Nesterov(Momentum):
    """v ← μ v + g, p ← p − η (g + μ v): momentum with the gradient of one step ahead

    In the form of Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning".
    """

    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        velocity = self.velocity[here]
        velocity *= self.momentum
        velocity += G
        np.multiply(velocity, self.momentum, out=out)
        out += G
        return 1.0


class RMSProp(Optimizer):
    """s ← ρ s + (1 − ρ) g², p ← p − η g / (√s + ε), (P,) (Tieleman and Hinton 2012)"""

    state_names = ("square",)
    settings = ("rho",)
    default_learning_rate = 0.001

    def __init__(
        self,
        n: int,
        decay: Array,
        weight_decay: float = 0.0,
        rates: Array | None = None,
        rho: float = 0.9,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(n, decay, weight_decay, rates)
        self.rho, self.epsilon = rho, epsilon
        self.square = np.zeros(n, decay.dtype)

    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        square = self.square[here]
        np.multiply(G, G, out=out)
        out *= 1.0 - self.rho
        square *= self.rho
        square += out
        np.sqrt(square, out=out)
        out += self.epsilon
        np.divide(G, out, out=out)
        return 1.0


class Adam(Optimizer):
    """The mean gradient over its root mean square, both corrected for their zero start

    m ← β₁ m + (1 − β₁) g, s ← β₂ s + (1 − β₂) g²,
    p ← p − η (m / (1 − β₁ᵗ)) / (√(s / (1 − β₂ᵗ)) + ε), with p, m, s and g (P,)

    Kingma and Ba 2015, "Adam", algorithm 1. The state holds the sums
    m / (1 − β₁) and s / (1 − β₂), and the constants move into η and ε (half of that is
    at the end of its section 2), which saves two passes over memory.
    """

    state_names = ("gradients", "squares")
    settings = ("beta1", "beta2")
    default_learning_rate = 0.002
    tiny_data_learning_rate = 0.01

    def __init__(
        self,
        n: int,
        decay: Array,
        weight_decay: float = 0.0,
        rates: Array | None = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(n, decay, weight_decay, rates)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.gradients = np.zeros(n, decay.dtype)
        self.squares = np.zeros(n, decay.dtype)

    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        gradients, squares = self.gradients[here], self.squares[here]
        gradients *= self.beta1
        gradients += G
        squares *= self.beta2
        np.multiply(G, G, out=out)
        squares += out
        mean = (1.0 - self.beta1) / (1.0 - self.beta1**self.steps)
        root = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**self.steps))
        np.sqrt(squares, out=out)
        out += self.epsilon / root
        np.divide(gradients, out, out=out)
        return mean / root


class AdamW(Adam):
    """Adam with decoupled weight decay: p ← p − η λ p before each step

    Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    def _shrink(
        self, P: Array, G: Array, decay: float | Array, rate: float, scratch: Array
    ) -> None:
        P *= 1.0 - rate * decay


OPTIMIZERS: dict[OptimizerName, type[Optimizer]] = {
    "gradient_descent": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}
