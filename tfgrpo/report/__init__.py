"""One run at a glance: what was learned, and is it real? As figures, and as a page."""

from .figures import Figures, Interval, Step, Tried, gather_figures
from .page import render_page
from .verdict import RunVerdict, verdict

__all__ = ["Figures", "Interval", "RunVerdict", "Step", "Tried", "gather_figures", "render_page", "verdict"]
