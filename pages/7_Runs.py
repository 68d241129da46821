"""Several runs beside each other."""

from dfc.ui.runs import page
from dfc.ui.shell.frame import frame

with frame("Runs") as view:
    page.show(view)
