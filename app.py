"""Overview: what was compared, whether to trust it, and what was found."""

from dfc.ui import overview
from dfc.ui.frame import frame

with frame("Overview") as view:
    overview.show(view)
