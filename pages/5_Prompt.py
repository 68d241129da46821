"""Read a text of one's own with both models."""

from dfc.ui import prompt_view
from dfc.ui.frame import frame

with frame("Prompt") as view:
    prompt_view.show(view)
