"""One run at a glance: what was learned, and is it real?"""

from .figures import Figures, Interval, Step, Tried, gather
from .verdict import Verdict, verdict

__all__ = ["Figures", "Interval", "Step", "Tried", "Verdict", "gather", "verdict"]
