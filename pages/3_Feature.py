"""One feature: where it fires, what it writes, and in which model."""

from dfc.ui.feature import page
from dfc.ui.shell.frame import frame

with frame("Feature", about="feature") as view:
    page.show(view)
