"""What no answer in chunks can have is refused, with the reason."""

import pytest

from tfgrpo.errors import InputError
from tfgrpo.records import Frame
from tfgrpo.rollouts.uncuttable import check_bounded


@pytest.mark.parametrize("field", ["tools", "grammar", "response_format", "continue_final_message"])
def test_what_cannot_be_cut_is_refused_before_anything_is_asked(field: str) -> None:
    with pytest.raises(InputError, match=f"--bounded: {field} goes with no answer in chunks"):
        check_bounded(Frame("fake", request={field: {"type": "json_object"}}), agent=False)
    check_bounded(Frame("fake", request={"response_format": {"type": "text"}, field: None}), agent=False)
