"""How far two policies are apart, from sampled tokens or over the vocabulary."""
