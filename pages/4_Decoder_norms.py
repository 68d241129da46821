"""How strongly each model writes each feature."""

from dfc.ui.norms import page
from dfc.ui.shell.frame import frame

with frame("Decoder norms") as view:
    page.show(view)
