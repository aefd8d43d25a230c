from __future__ import annotations

from mirror.server.metrics import Metrics


def test_counters_are_rendered_as_prometheus_text() -> None:
    metrics = Metrics()
    metrics.begin()
    metrics.begin()
    metrics.finish("GET", "blob", 206, sent=10, received=0)
    metrics.upload("started")
    lines = metrics.render().decode().splitlines()
    assert 'bundlectl_http_requests_total{method="GET",route="blob",status="2xx"} 1' in lines
    assert "bundlectl_http_in_flight 1" in lines
    assert "bundlectl_http_sent_bytes_total 10" in lines
    assert 'bundlectl_uploads_total{outcome="started"} 1' in lines
    assert all(line.startswith("# ") or len(line.split()) == 2 for line in lines)


def test_a_method_that_a_client_made_up_is_no_label() -> None:
    metrics = Metrics()
    metrics.begin()
    metrics.finish('X"} 1\n', "none", 400, sent=0, received=0)
    assert b'method="OTHER"' in metrics.render()
