"""The neural network: layers, networks and how they are built."""
