"""Files that ship beside the code: `prompts/` and `store/`, in the wheel or in the checkout."""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "_assets"
_CHECKOUT = Path(__file__).parent.parent


def asset_folder(name: str) -> Path:
    """The folder of a kind of asset (`prompts` or `store`): inside the wheel, else in the editable checkout."""
    installed = _INSTALLED / name
    return installed if installed.is_dir() else _CHECKOUT / name
