"""Overview: what was compared, whether to trust it, and what was found."""

from dfc.ui.overview import page
from dfc.ui.shell.frame import frame

with frame("Overview") as view:
    page.show(view)
