"""Push a model along a feature, beside the same model left alone."""

from dfc.ui import steer_view
from dfc.ui.frame import frame

with frame("Steer") as view:
    steer_view.show(view)
