"""The findings of a run one at a time, to be decided on."""

from dfc.ui.screen import page
from dfc.ui.shell.frame import frame

with frame("Screen", about="feature") as view:
    page.show(view)
