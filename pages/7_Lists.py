"""What readers said of features: favourites, lists, tags and notes."""

from dfc.ui import lists_view
from dfc.ui.frame import frame

with frame("Notes and lists") as view:
    lists_view.show(view)
