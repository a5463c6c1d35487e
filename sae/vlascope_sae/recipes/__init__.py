"""Study recipes that are answered with autoencoders."""
