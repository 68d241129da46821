"""What readers said of features: favourites, lists, tags and notes."""

from dfc.ui.lists import page
from dfc.ui.shell.frame import frame

with frame("Notes and lists") as view:
    page.show(view)
