from __future__ import annotations

from mirror.server.metrics import Metrics


def test_counters_are_rendered_as_prometheus_text() -> None:
    metrics = Metrics()
    metrics.begin()
    metrics.begin()
    metrics.finish("GET", "blob", 206, sent=10, received=0)
    metrics.upload("started")
    metrics.connected(1)
    lines = metrics.render({"upload_sessions": ("Uploads that are open.", 3)}).decode().splitlines()
    assert 'bundlectl_http_requests_total{method="GET",route="blob",status="2xx"} 1' in lines
    assert "bundlectl_http_in_flight 1" in lines
    assert "bundlectl_http_connections 1" in lines
    assert "bundlectl_http_sent_bytes_total 10" in lines
    assert 'bundlectl_uploads_total{outcome="started"} 1' in lines
    assert "bundlectl_upload_sessions 3" in lines
    assert all(line.startswith("# ") or len(line.split()) == 2 for line in lines)


def test_times_are_a_histogram_whose_buckets_add_up() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.004, 0.005, 3.0, 10_000.0):
        metrics.finish("GET", "manifest", 200, sent=0, received=0, seconds=seconds)
    found = dict(
        line.rsplit(" ", 1) for line in metrics.render().decode().splitlines() if "http_request_seconds" in line
    )
    name = "bundlectl_http_request_seconds"
    assert found[f'{name}_bucket{{route="manifest",le="0.001"}}'] == "1"
    assert found[f'{name}_bucket{{route="manifest",le="0.005"}}'] == "3"
    assert found[f'{name}_bucket{{route="manifest",le="2.5"}}'] == "3"
    assert found[f'{name}_bucket{{route="manifest",le="10.0"}}'] == "4"
    assert found[f'{name}_bucket{{route="manifest",le="+Inf"}}'] == "5"
    assert found[f'{name}_count{{route="manifest"}}'] == "5"
    assert float(found[f'{name}_sum{{route="manifest"}}']) == 10_003.0095


def test_a_method_that_a_client_made_up_is_no_label() -> None:
    metrics = Metrics()
    metrics.begin()
    metrics.finish('X"} 1\n', "none", 400, sent=0, received=0)
    assert b'method="OTHER"' in metrics.render()


def test_every_process_tells_of_all_and_one_that_takes_over_keeps_what_was_counted() -> None:
    metrics = Metrics(2)
    for number in (0, 1):
        metrics.take(number)
        metrics.begin()
        metrics.connected(1)
        metrics.upload("finished")  # and then it is killed, with a request in flight and a connection open
    told = metrics.render().decode()
    assert 'bundlectl_uploads_total{outcome="finished"} 2' in told
    assert "bundlectl_http_in_flight 2" in told
    metrics.take(1)
    told = metrics.render().decode()
    assert 'bundlectl_uploads_total{outcome="finished"} 2' in told
    assert "bundlectl_http_in_flight 1" in told
    assert "bundlectl_http_connections 1" in told


def test_the_process_with_the_fewest_connections_knows_it() -> None:
    metrics = Metrics(2)
    assert metrics.is_least_busy()
    metrics.connected(2)
    assert not metrics.is_least_busy()
    metrics.take(1)
    assert metrics.is_least_busy()
