"""The traffic of one namespace and what feedback says of it: counted over a week at most, in a thread of its own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import log

from ...deployment.comparison import FALSE_ALARMS
from ...deployment.effects import EffectInUse
from ...deployment.facts import LiveInUse, live_in_use
from ...records import JSON
from ...store import CallCount, Store, StorePath
from ...store.browse import RewardCount
from .canary import CanaryLook, canary_look, thinned

WINDOW = timedelta(days=7)
_DAY = timedelta(hours=23)
"""With the hour that is running, 24 of them."""
_TONES: Mapping[str, str] = {"live": "good", "ungated": "good", "canary": "bad", "none": "unsure", "holdback": "unsure"}
_BY_DAY = 72
"""Hours with feedback from which on it is told by day: an hour's mean says little by itself."""


@dataclass(frozen=True, slots=True)
class AddedLatency:
    """Seconds that tfgrpo added to the latest calls."""

    calls: int
    median: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class VariantRewards:
    """What feedback on one variant came to, over the window."""

    variant: str
    told: int
    mean: float


@dataclass(frozen=True, slots=True)
class TrafficLook:
    """What was counted, and when."""

    at: str
    hours: tuple[CallCount, ...]
    statuses: tuple[tuple[int, int], ...]
    """Status and number of calls, of the last 24 hours."""
    added: AddedLatency | None
    rewards: tuple[RewardCount, ...]
    canary: CanaryLook | None = None
    in_use: tuple[tuple[str, EffectInUse], ...] = ()
    """The texts of experiences of the live prior, and what feedback says that each is worth."""
    live: LiveInUse = field(default_factory=LiveInUse)

    @property
    def calls(self) -> int:
        """Over the window."""
        return sum(one.calls for one in self.hours)

    @property
    def of_day(self) -> tuple[CallCount, ...]:
        """By variant, those of the last 24 hours, the running one among them."""
        return _by_variant(one for one in self.hours if one.span >= _hour(self._then - _DAY))

    @property
    def _then(self) -> datetime:
        return datetime.fromisoformat(self.at)

    @property
    def told(self) -> tuple[VariantRewards, ...]:
        """Feedback by variant."""
        sums: dict[str, list[float]] = {}
        for one in self.rewards:
            held = sums.setdefault(one.variant, [0, 0.0])
            held[0] += one.told
            held[1] += one.told * one.mean
        return tuple(VariantRewards(name, int(n), total / n) for name, (n, total) in sorted(sums.items()))

    @property
    def calls_chart(self) -> Mapping[str, JSON]:
        """Calls by hour, one line for each variant, and one for those that failed."""
        if not self.hours:
            return {}
        hours = _all_hours(self.hours[0].span, _hour(self._then))
        variants = sorted({one.variant for one in self.hours})
        counts = {(one.span, one.variant): one for one in self.hours}
        series: list[JSON] = [
            {
                "label": name,
                "tone": _TONES.get(name, "ink"),
                "values": [counts[hour, name].calls if (hour, name) in counts else 0 for hour in hours],
            }
            for name in variants
        ]
        failed = [sum(one.failed for name in variants if (one := counts.get((hour, name)))) for hour in hours]
        if any(failed):
            series.append({"label": "failed", "tone": "failed", "values": failed})
        return {"x": [_seconds(hour) for hour in hours], "time": True, "y": "count", "series": series}

    @property
    def drift_chart(self) -> Mapping[str, JSON]:
        """The bet that the live prior gains nothing any more, after each pair; nothing where no call is held back."""
        path = [0.0, *self.live.drift.path]
        if len(path) == 1:
            return {}
        at = thinned(range(len(path)))
        line: JSON = {"label": "that it gains nothing", "tone": "bad", "values": [path[n] for n in at]}
        goes = {"value": log(FALSE_ALARMS), "tone": "bad", "label": "goes back"}
        return {"x": at, "time": False, "of": "pair", "y": "log_e", "thresholds": [goes], "series": [line]}

    @property
    def rewards_chart(self) -> Mapping[str, JSON]:
        """The mean reward of each variant by hour, or by day."""
        by_day = len({one.span for one in self.rewards}) > _BY_DAY
        found = _daily(self.rewards) if by_day else self.rewards
        spans = sorted({one.span for one in found})
        means = {(one.span, one.variant): one.mean for one in found}
        series = [
            {"label": name, "tone": _TONES.get(name, "ink"), "values": [means.get((span, name)) for span in spans]}
            for name in sorted({one.variant for one in found})
        ]
        return {"x": [_seconds(span) for span in spans], "time": True, "y": "percent", "series": series}


def traffic_look(path: StorePath, namespace: str) -> TrafficLook:
    """Count it now."""
    now = datetime.now(UTC)
    since = _hour(now - WINDOW)
    with Store(path, create=False) as store:
        live = live_in_use(store, namespace)
        return TrafficLook(
            at=now.isoformat(timespec="seconds"),
            hours=store.call_counts(namespace, since),
            statuses=store.status_counts(namespace, _hour(now - _DAY)),
            added=_latency(store.latest_added(namespace)),
            rewards=store.reward_counts(namespace, since),
            canary=canary_look(store, namespace),
            in_use=_named(store, namespace, live),
            live=live,
        )


def _named(store: Store, namespace: str, found: LiveInUse) -> tuple[tuple[str, EffectInUse], ...]:
    live = store.live(namespace)
    texts = {one.id: one.text for one in live.prior.experiences} if live else {}
    return tuple((texts[one.experience], one) for one in found.effects if one.experience in texts)


def _latency(added: Sequence[float]) -> AddedLatency | None:
    if not added:
        return None
    median, p95, p99 = (added[min(len(added) - 1, int(share * len(added)))] for share in (0.5, 0.95, 0.99))
    return AddedLatency(len(added), median, p95, p99)


def _by_variant(counts: Iterable[CallCount]) -> tuple[CallCount, ...]:
    sums: dict[str, list[CallCount]] = {}
    for one in counts:
        sums.setdefault(one.variant, []).append(one)
    return tuple(
        CallCount("", name, sum(one.calls for one in of), sum(one.failed for one in of), None)
        for name, of in sorted(sums.items())
    )


def _daily(rewards: Iterable[RewardCount]) -> list[RewardCount]:
    sums: dict[tuple[str, str], list[RewardCount]] = {}
    for one in rewards:
        sums.setdefault((one.span[:10], one.variant), []).append(one)
    return [
        RewardCount(span, name, told := sum(one.told for one in of), sum(one.told * one.mean for one in of) / told)
        for (span, name), of in sorted(sums.items())
    ]


def _hour(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H}"


def _seconds(span: str) -> int:
    """Of an hour or a day, since 1970."""
    return int(datetime.fromisoformat(span if len(span) == 10 else f"{span}:00").replace(tzinfo=UTC).timestamp())


def _all_hours(first: str, last: str) -> list[str]:
    """Those without a call too, in which no line may go on as if there were some."""
    begin = datetime.fromisoformat(f"{first}:00")
    count = int((datetime.fromisoformat(f"{last}:00") - begin).total_seconds() // 3600) + 1
    return [_hour(begin + timedelta(hours=n)) for n in range(max(1, count))]
