"""Push a model along a feature, beside the same model left alone."""

from dfc.ui.shell.frame import frame
from dfc.ui.steer import page

with frame("Steer") as view:
    page.show(view)
