"""What each model says itself, and which findings fire in it."""

from dfc.ui.own_words import page
from dfc.ui.shell.frame import frame

with frame("Own words") as view:
    page.show(view)
