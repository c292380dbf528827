import pytest

import tfgrpo


def test_the_public_names_are_sorted_and_there() -> None:
    assert tfgrpo.__all__ == sorted(tfgrpo.__all__)
    assert set(tfgrpo.__all__) <= set(dir(tfgrpo))


@pytest.mark.parametrize("name", tfgrpo.__all__)
def test_a_public_name_imports(name: str) -> None:
    assert getattr(tfgrpo, name) is not None
    assert getattr(tfgrpo, name) is getattr(tfgrpo, name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="OpenAl"):
        tfgrpo.OpenAl  # noqa: B018
