"""What a model is: everything that training and serving must agree on."""
