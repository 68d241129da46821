"""Read a text of one's own with both models."""

from dfc.ui.prompt import page
from dfc.ui.shell.frame import frame

with frame("Prompt") as view:
    page.show(view)
