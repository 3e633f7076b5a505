"""The rules that turn a gradient into a step, in order of increasing complexity.

Each works in place on the flat parameter vector, so a step is a few passes over
memory and allocates nothing. `state` names the vectors that a rule remembers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np

from models.types import Array

Rule: TypeAlias = Literal[
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


class Optimizer(ABC):
    """Remembers what its rule needs between steps.

    `decay` is one number a parameter, 1 where weight decay applies and 0 elsewhere
    (biases and gains are left alone). All rules but AdamW add weight_decay * parameter
    to the gradient, which is the gradient of an L2 penalty.
    """

    def __init__(
        self,
        n: int,
        decay: Array,
        weight_decay: float = 0.0,
        rates: Array | None = None,
    ) -> None:
        self.decay = decay
        self.rates = rates
        self.weight_decay = weight_decay
        self.scratch = np.empty(n, decay.dtype)
        self.steps = 0

    def step(self, parameters: Array, gradients: Array, learning_rate: float) -> None:
        """Move the parameters one step; the gradients may be written over."""
        self.steps += 1
        if self.weight_decay:
            self._shrink(parameters, gradients, learning_rate)
        factor = self._direct(gradients)
        self.scratch *= learning_rate * factor
        if self.rates is not None:
            self.scratch *= self.rates
        parameters -= self.scratch

    def _shrink(self, P: Array, G: Array, learning_rate: float) -> None:
        np.multiply(P, self.decay, out=self.scratch)
        self.scratch *= self.weight_decay
        G += self.scratch

    @abstractmethod
    def _direct(self, G: Array) -> float:
        """Write the direction against which to step; return a factor for its length."""


class GradientDescent(Optimizer):
    """p ← p − η g"""

    def _direct(self, G: Array) -> float:
        np.copyto(self.scratch, G)
        return 1.0


class Momentum(Optimizer):
    """v ← μ v + g, p ← p − η v (Polyak 1964): speed gathers along a ravine"""

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

    def _direct(self, G: Array) -> float:
        self.velocity *= self.momentum
        self.velocity += G
        np.copyto(self.scratch, self.velocity)
        return 1.0


class Nesterov(Momentum):
    """v ← μ v + g, p ← p − η (g + μ v): the gradient as seen one step ahead

    In the form of Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning".
    """

    def _direct(self, G: Array) -> float:
        self.velocity *= self.momentum
        self.velocity += G
        np.multiply(self.velocity, self.momentum, out=self.scratch)
        self.scratch += G
        return 1.0


class RMSProp(Optimizer):
    """s ← ρ s + (1 − ρ) g², p ← p − η g / (√s + ε) (Tieleman and Hinton 2012)"""

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

    def _direct(self, G: Array) -> float:
        np.multiply(G, G, out=self.scratch)
        self.scratch *= 1.0 - self.rho
        self.square *= self.rho
        self.square += self.scratch
        np.sqrt(self.square, out=self.scratch)
        self.scratch += self.epsilon
        np.divide(G, self.scratch, out=self.scratch)
        return 1.0


class Adam(Optimizer):
    """Momentum over RMSProp, both corrected for their start at zero

    m ← β₁ m + (1 − β₁) g, s ← β₂ s + (1 − β₂) g²,
    p ← p − η (m / (1 − β₁ᵗ)) / (√(s / (1 − β₂ᵗ)) + ε)

    Kingma and Ba 2015, "Adam", algorithm 1, with the corrections moved into η and ε
    as its section 2 ends: one pass less over memory.
    """

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
        self.mean = np.zeros(n, decay.dtype)
        self.square = np.zeros(n, decay.dtype)

    def _direct(self, G: Array) -> float:
        self.mean *= self.beta1
        np.multiply(G, 1.0 - self.beta1, out=self.scratch)
        self.mean += self.scratch
        self.square *= self.beta2
        np.multiply(G, G, out=self.scratch)
        self.scratch *= 1.0 - self.beta2
        self.square += self.scratch
        unbias1 = 1.0 - self.beta1**self.steps
        unbias2 = math.sqrt(1.0 - self.beta2**self.steps)
        np.sqrt(self.square, out=self.scratch)
        self.scratch += self.epsilon * unbias2
        np.divide(self.mean, self.scratch, out=self.scratch)
        return unbias2 / unbias1


class AdamW(Adam):
    """Adam whose weights shrink by themselves: p ← p − η λ p, apart from the gradient

    Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    def _shrink(self, P: Array, G: Array, learning_rate: float) -> None:
        np.multiply(P, self.decay, out=self.scratch)
        self.scratch *= learning_rate * self.weight_decay
        P -= self.scratch


OPTIMIZERS: dict[Rule, type[Optimizer]] = {
    "gradient_descent": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}
