"""The token prior: logit biases learned by the same advantage, and whether they are kept. No I/O."""
