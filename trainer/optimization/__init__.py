"""The rules of gradient descent: optimizers and learning-rate schedules."""
