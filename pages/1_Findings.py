"""Where one model does better than in like texts, and on what."""

from dfc.ui.findings import page
from dfc.ui.shell.frame import frame

with frame("Findings") as view:
    page.show(view)
