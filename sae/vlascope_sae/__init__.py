"""Sparse autoencoders: architectures, training, evaluation, features, and edits made of them."""
