"""Every feature that only one model may use, as a table."""

from dfc.ui import exclusive_view
from dfc.ui.frame import frame

with frame("Exclusive features") as view:
    exclusive_view.show(view)
