"""One run at a glance: what was learned, and is it real? As figures, and as a page."""

from .figures import Figures, Interval, Step, Tried, gather
from .page import render
from .verdict import Verdict, verdict

__all__ = ["Figures", "Interval", "Step", "Tried", "Verdict", "gather", "render", "verdict"]
