"""`Classifier` and `Regressor`: the trainer by scikit-learn's conventions.

They need no scikit-learn. Where it asks for objects of its own, which only it can do,
these are made of its own classes.
"""
