"""Tests for the calls that feedback can be given on without asking the store."""

from tfgrpo.serve.proxy.remembered import Known, RememberedCalls


def test_the_latest_calls_are_known_and_the_old_ones_are_forgotten() -> None:
    calls, most = RememberedCalls(most=500), 500
    said = [Known("default", f"prior_{number // 100}", "live") for number in range(2_750)]
    for number, known in enumerate(said):
        calls.add(f"inf_{number}", known)
        calls.add(f"inf_{number}", known)  # twice is once
    found = [calls.get(f"inf_{number}") for number in range(len(said))]
    assert found[-most:] == said[-most:]
    assert found[: -2 * most] == [None] * (len(said) - 2 * most)
    assert all(got in (None, known) for got, known in zip(found, said, strict=True))
    assert calls.get("inf_of_another") is None
