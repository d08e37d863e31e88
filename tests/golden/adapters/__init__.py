"""One file per family: `ADAPTERS` maps a function's name to its adapter.

An adapter is `(hp, inputs) -> outputs`: it calls jaxrl as a user would and returns
every output of the case under its name, gradients by `jax.grad`. What is odd about a
reference (a 1e-8 in a denominator, a group of one) is done here, never in the library.

In float64 cases 64-bit JAX is on; in cases with a float32 input it is off. Strict
promotion is off here, since inputs are NumPy arrays of many types.
"""
