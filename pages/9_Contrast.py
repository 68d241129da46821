"""Two sets of prompts: which features and findings fire on one and not on the other."""

from dfc.ui.contrast import page
from dfc.ui.shell.frame import frame

with frame("Contrast") as view:
    page.show(view)
