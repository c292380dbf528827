"""One run at a glance, as figures and as a page: what was learned, and how sure that is."""

from .figures import Figures, Interval, ReportedExperience, StepFigures
from .gather import gather_figures
from .page import render_page
from .verdict import RunVerdict, verdict

__all__ = [
    "Figures",
    "Interval",
    "ReportedExperience",
    "RunVerdict",
    "StepFigures",
    "gather_figures",
    "render_page",
    "verdict",
]
