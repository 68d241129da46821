"""How strongly each model writes each feature."""

from dfc.ui import norms_view
from dfc.ui.frame import frame

with frame("Decoder norms") as view:
    norms_view.show(view)
