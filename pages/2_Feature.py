"""One feature: where it fires, what it writes, and in which model."""

from dfc.ui import feature_view
from dfc.ui.frame import frame

with frame("Feature") as view:
    feature_view.show(view)
