"""Several runs beside each other."""

from dfc.ui import runs_view
from dfc.ui.frame import frame

with frame("Runs") as view:
    runs_view.show(view)
