"""Registries and upstreams made up for trying and testing.

Independent of ``mirror.server`` and ``mirror.layout`` on purpose: what checks them must not be
made of them. Nothing but ``bundlectl quickstart``, the tests and the benchmarks imports it.
"""
