"""Every feature that only one model may use, as a table."""

from dfc.ui.shell.frame import frame
from dfc.ui.table import page

with frame("Exclusive features") as view:
    page.show(view)
