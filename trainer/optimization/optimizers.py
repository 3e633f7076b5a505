"""The rules that turn a gradient into a step, in order of increasing complexity.

Each works in place on the flat parameter vector, so a step allocates nothing. It goes
block by block: the passes over a block find it in the processor's cache.
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
    """Scale the gradient down to length `limit` if it is longer; return its length.

    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """
    with np.errstate(over="ignore"):
        norm = math.sqrt(float(np.dot(gradients, gradients)))
    if math.isinf(norm):  # the square, not the length, is too large for float32
        norm = float(np.linalg.norm(gradients.astype(np.float64)))
    if norm > limit:
        gradients *= limit / norm
    return norm


#: Numbers of a block: five vectors of it (parameters, gradient, two memories, scratch)
#: fit in a cache of 4 MB. Smaller ones were no faster.
BLOCK = 1 << 17
#: As many parameters of one rate and decay are worth a block of their own, which takes
#: both as numbers and saves a pass over memory for each.
ALIKE = 1 << 14
#: Every so many steps, numbers of a memory that are smaller than this become 0: between
#: two such steps a memory of 0.75 or longer does not fall from here to where float32
#: becomes subnormal (1e-38), and to a step they add nothing (epsilon is 1e-8).
FLUSH, FORGOTTEN = 64, 1e-30


class _Block(NamedTuple):
    """A part of the flat vectors; its rates and decay, one for all or one each."""

    here: slice
    rate: float | Array
    decay: float | Array


class Optimizer(ABC):
    """Remembers what its rule needs between steps.

    `decay` is one number a parameter, 1 where weight decay applies and 0 elsewhere
    (biases and gains are left alone). All rules but AdamW add weight_decay * parameter
    to the gradient, which is the gradient of an L2 penalty. `rates` are factors of the
    learning rate, one a parameter, where they differ.

    A subclass names in `state_names` the vectors that one step leaves for the next, in
    `settings` the settings of `train.*` that its constructor takes, and gives the
    default learning rate of a plain network, and that for tiny data if it differs.
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
        """Move the parameters one step against the gradients, which may change."""
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
        """Forget what is remembered of gradients that have long been zero.

        Halved again and again it would become subnormal, and a processor computes with
        such numbers many times slower: pixels that are nearly always black would double
        the time of a run.
        """
        for name in self.state_names:
            memory = getattr(self, name)[here]
            memory[np.abs(memory, out=scratch) < FORGOTTEN] = 0.0

    def _shrink(
        self, P: Array, G: Array, decay: float | Array, rate: float, scratch: Array
    ) -> None:
        """Pull the parameters towards zero."""
        np.multiply(P, decay, out=scratch)
        G += scratch

    @abstractmethod
    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        """Write the direction against which to step; return a factor for its length."""


def _blocks(rates: Array, decay: Array) -> Iterator[_Block]:
    """Divide the parameters, apart where many are alike."""
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
    """Return the value that all are, or the values."""
    return float(values[0]) if (values == values[0]).all() else values


class GradientDescent(Optimizer):
    """p ← p − η g"""

    default_learning_rate = 0.1

    def _step_direction(self, G: Array, here: slice, out: Array) -> float:
        np.copyto(out, G)
        return 1.0


class Momentum(Optimizer):
    """v ← μ v + g, p ← p − η v (Polyak 1964): speed gathers along a ravine"""

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
    """v ← μ v + g, p ← p − η (g + μ v): the gradient as seen one step ahead

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
    """s ← ρ s + (1 − ρ) g², p ← p − η g / (√s + ε) (Tieleman and Hinton 2012)"""

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
    """Momentum over RMSProp, both corrected for their start at zero

    m ← β₁ m + (1 − β₁) g, s ← β₂ s + (1 − β₂) g²,
    p ← p − η (m / (1 − β₁ᵗ)) / (√(s / (1 − β₂ᵗ)) + ε)

    Kingma and Ba 2015, "Adam", algorithm 1. The memories are kept as sums,
    m / (1 − β₁) and s / (1 − β₂), and every constant is moved into η and ε (its section
    2 ends with half of that): two passes less over memory.
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
    """Adam whose weights shrink by themselves: p ← p − η λ p, apart from the gradient

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
