"""Counters as Prometheus reads them."""

from __future__ import annotations

from controller.metrics import Metrics


def test_counters_gauges_and_the_histogram_are_in_the_text() -> None:
    metrics = Metrics()
    metrics.count("actions_total", action="Install", result="done")
    metrics.count("actions_total", action="Install", result="done")
    metrics.gauge("packages", lambda: {'a "state"\n': 3.0})
    metrics.gauge("leader", lambda: {"": 1.0})
    metrics.took(0.02)
    metrics.took(1000)
    lines = metrics.render().splitlines()
    assert 'bundlectl_controller_actions_total{action="Install",result="done"} 2' in lines
    assert 'bundlectl_controller_packages{state="a \\"state\\"\\n"} 3' in lines
    assert "bundlectl_controller_leader 1" in lines
    assert 'bundlectl_controller_reconcile_seconds_bucket{le="0.05"} 1' in lines
    assert 'bundlectl_controller_reconcile_seconds_bucket{le="+Inf"} 2' in lines
    assert "bundlectl_controller_reconcile_seconds_count 2" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_large_counters_are_not_rounded() -> None:
    metrics = Metrics()
    metrics.gauge("queue_depth", lambda: {"": 1234567.0})
    metrics.took(1_000_000.5)
    lines = metrics.render().splitlines()
    assert "bundlectl_controller_queue_depth 1234567" in lines
    assert "bundlectl_controller_reconcile_seconds_sum 1000000.5" in lines
