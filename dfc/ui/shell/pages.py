"""The pages of the app, in the order in which the navigation lists them.

A page is its room, `dfc/ui/ROOM/page.py` with `show(view)`, a script in `pages/` that opens the frame around it, and a
line here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        script: where it lies beside app.py.
        title: in the navigation.
        icon: of Material's.
        room: in dfc/ui.
    """

    script: str
    title: str
    icon: str
    room: str

    @property
    def path(self) -> str:
        """In the address; that of the front page is empty."""
        return self.script.removeprefix("pages/").removesuffix(".py").partition("_")[2] if "/" in self.script else ""


PAGES = (
    Page("app.py", "Overview", ":material/space_dashboard:", "overview"),
    Page("pages/1_Findings.py", "Findings", ":material/lightbulb:", "findings"),
    Page("pages/9_Screen.py", "Screen", ":material/fact_check:", "screen"),
    Page("pages/2_Exclusive_features.py", "Exclusive features", ":material/table_rows:", "table"),
    Page("pages/3_Feature.py", "Feature", ":material/frame_inspect:", "feature"),
    Page("pages/4_Decoder_norms.py", "Decoder norms", ":material/scatter_plot:", "norms"),
    Page("pages/5_Steer.py", "Steer", ":material/explore:", "steer"),
    Page("pages/6_Prompt.py", "Prompt", ":material/edit_note:", "prompt"),
    Page("pages/9_Contrast.py", "Contrast", ":material/difference:", "contrast"),
    Page("pages/9_Own_words.py", "Own words", ":material/forum:", "own_words"),
    Page("pages/7_Runs.py", "Runs", ":material/stacked_line_chart:", "runs"),
    Page("pages/8_Lists.py", "Notes and lists", ":material/bookmarks:", "lists"),
)


def script(room: str) -> str:
    """The script of a room's page."""
    return next(page.script for page in PAGES if page.room == room)
