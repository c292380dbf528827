"""Every error that tfgrpo raises on purpose.

TfgrpoError
├── InputError          a file, option or setting that cannot be used as given
│   └── PromptError     a prompt template with a missing or surplus placeholder
├── RewardError         a reward that failed, or gave something other than a number in [0, 1]
├── ModelError          one model call failed after its retries; the rollout is kept as data
│   ├── UnusableError   no answer to one question could be used, of all that were asked for
│   └── UpstreamError   no call can succeed (unreachable, unauthorised, unknown model); the run stops
├── AgentError          one rollout by an agent failed; it is kept as data
├── NoRewardError       no rollout of a first step earned anything; the run stops, and what was done is kept
├── BudgetEnded         a ceiling of the run is reached; what was done is kept
├── LocalModelError     the embedded model could not be fetched or started
└── StoreError          the store could not be opened, read or written

Each message is one line that says what to do next. None ever holds a key or another secret.
"""


class TfgrpoError(Exception):
    """Root of all errors raised by tfgrpo."""


class InputError(TfgrpoError):
    """A file, option or setting that cannot be used as given."""


class PromptError(InputError):
    """A prompt template with a missing or surplus placeholder."""


class RewardError(TfgrpoError):
    """A reward that failed, or gave something other than a number in [0, 1]."""


class ModelError(TfgrpoError):
    """One model call failed after its retries; `status` is the HTTP status that it ended with, if any."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UnusableError(ModelError):
    """No answer to one question could be used; `answers` is how many there were."""

    def __init__(self, message: str, answers: int) -> None:
        super().__init__(message)
        self.answers = answers


class UpstreamError(ModelError):
    """No call to this upstream can succeed: unreachable, unauthorised, or no such model."""


class AgentError(TfgrpoError):
    """One rollout by an agent failed: it crashed, or gave no answer."""


class NoRewardError(TfgrpoError):
    """No rollout of a first step earned anything: the run stops, says why that may be, and what was done is kept."""


class BudgetEnded(TfgrpoError):
    """A ceiling of the run is reached: no further call is made, and what was done is kept."""


class LocalModelError(TfgrpoError):
    """The embedded model could not be fetched or started."""


class StoreError(TfgrpoError):
    """The store could not be opened, read or written."""
