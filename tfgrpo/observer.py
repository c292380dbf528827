"""Who watches a run while it goes: a progress display, a test, or nobody."""

from typing import Protocol

from .records import Group, Rollout


class Observer(Protocol):
    """Told what happens, in order of happening; never asked."""

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        """A stage of that many rollouts begins, and of that many groups to be distilled."""
        ...

    def distilled(self, group: Group) -> None:
        """One group has been distilled."""
        ...

    def landed(self, rollout: Rollout) -> None:
        """One attempt is complete and scored."""
        ...

    def note(self, line: str) -> None:
        """Something a person should know: a parameter dropped, a prior left out, a group that failed."""
        ...


class Silent:
    """An observer that keeps quiet."""

    def stage(self, name: str, rollouts: int, groups: int = 0) -> None:
        """Nothing."""

    def distilled(self, group: Group) -> None:
        """Nothing."""

    def landed(self, rollout: Rollout) -> None:
        """Nothing."""

    def note(self, line: str) -> None:
        """Nothing."""
