"""Options that say which model proposes experiences."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from .gathered import ADVANCED, MODEL, gathered, titled
from .shared import key_in

if TYPE_CHECKING:
    from ...model.endpoints import Endpoint


prompts_option = titled(ADVANCED)(
    "--prompts",
    rare=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Your own prompts for the distiller; tfgrpo prompts export copies ours.",
)


@dataclass(frozen=True, slots=True)
class DistillerOptions:
    """The options as they were given."""

    model: str | None
    base_url: str | None
    key_env: str | None

    @property
    def endpoint(self) -> "Endpoint":
        """The model that proposes; raises InputError for a key that is not there, or has no endpoint."""
        from ...model.endpoints import Endpoint

        if self.key_env and not self.base_url:
            raise InputError("--distiller-key-env goes with --distiller-base-url")
        return Endpoint(self.base_url, self.model, key_in("--distiller-key-env", self.key_env))


_option = titled(MODEL)

distiller_options = gathered(
    "distiller",
    DistillerOptions,
    _option("--distiller-model", help="Proposes experiences.  [default: the model]"),
    _option(
        "--distiller-base-url",
        rare=True,
        metavar="URL",
        help="Endpoint of the model that proposes, or `local`.  [default: that of the model itself]",
    ),
    _option(
        "--distiller-key-env",
        rare=True,
        metavar="NAME",
        help="Environment variable with the key for its endpoint.  [default: OPENAI_API_KEY]",
    ),
    prefix="distiller_",
)
"""--distiller-model, --distiller-base-url and --distiller-key-env; the command gets them as `distiller`."""
