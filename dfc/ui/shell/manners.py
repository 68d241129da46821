"""What a browser is told beside what it shows: which changes of the address are one step, whom keys are for, and that
nothing typed is lost.

Streamlit pushes an entry into the browser's history for every parameter that a script sets, and two where it changes
the page; on a step back, an address half changed would be shown. Its keys of buttons are heard wherever the focus is.
What is typed into a box is sent when the box is left, which a box that vanishes is not: by a step back, or with the
popover around it by Escape. A tab that is closed says so before. Where keys are what a page is for, Enter leaves a box.
Of clicks that come while a script runs Streamlit keeps one: arrows pressed meanwhile wait until their page is drawn.
"""

from __future__ import annotations

import streamlit as st

LEFT_BY_ENTER = "left_by_enter"
"""Beginning of the key of a container: Enter in a box of its keeps what was typed and leaves it, so that keys count."""
_JS = """
export default function ({ data }) {
  if (!window.dfcManners) {
    window.dfcManners = { top: null };
    let touched = true;  // since the last entry: what is pushed with nobody having done anything is no step of its own
    for (const kind of ["pointerdown", "keydown", "click"])
      window.addEventListener(kind, () => { touched = true; }, { capture: true });
    const push = window.history.pushState;
    window.history.pushState = function (...entry) {
      if (touched) { touched = false; push.apply(this, entry); }
      else this.replaceState(...entry);
    };
    const moves = "[role=radiogroup], [role=group], [role=toolbar], [role=slider], [role=tablist], [role=listbox], "
      + "[role=menu], [role=grid], [data-testid=stDataFrame], [data-testid=stPlotlyChart], .dfc-reading";
    const leave = () => { if (document.activeElement?.matches("textarea, input")) document.activeElement.blur(); };
    window.addEventListener("popstate", leave, { capture: true });
    window.addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); }, { capture: true });
    window.addEventListener("keydown", (event) => {  // after Streamlit has kept it
      if (event.key === "Enter" && event.target.closest(`[class*="st-key-${data.left}"]`)) setTimeout(leave);
    }, { capture: true });
    window.addEventListener("beforeunload", (event) => {  // the words under a box that was not sent yet
      const box = document.activeElement?.closest("[data-testid=stTextArea]");
      if (box?.querySelector("[data-testid=InputInstructions]")?.innerText.includes("Enter")) event.preventDefault();
    });
    const runs = () => !document.querySelector("[data-test-script-state=notRunning]");
    const waiting = [];
    let stepping = false;
    const await_page = (since, seen) => {  // a script that goes to another address runs again at once
      const now = performance.now();
      if (runs()) { setTimeout(await_page, 20, now, true); return; }
      if (now - since < (seen ? 150 : 3000)) { setTimeout(await_page, 20, since, seen); return; }
      stepping = false;
      const key = waiting.shift();
      for (const part of key ? ["keydown", "keyup"] : [])  // one held down would go with the next
        document.body.dispatchEvent(new KeyboardEvent(part, { key, code: key, bubbles: true }));
    };
    window.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
      const held = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
      if (!step || held || event.target.closest(`input, textarea, ${moves}`)) return;
      if (!stepping && !document.querySelector(`.st-key-${step} button:enabled`)) return;
      if (stepping) {
        event.stopImmediatePropagation();
        if (!event.repeat && waiting.length < 20) waiting.push(event.key);
      } else {
        stepping = true;
        await_page(performance.now(), false);
      }
    }, { capture: true });
    document.body.addEventListener("keydown", (event) => {  // before the document hears it, where buttons' keys are
      if (event.key.startsWith("Arrow") && event.target.closest(moves)) event.stopPropagation();
    });
  }
  const known = window.dfcManners.top;
  window.dfcManners.top = data.top;
  if (known !== null && data.top !== null && known !== data.top)
    document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
}
"""


def mind(top: str | None = None) -> None:
    """Have the browser mind all that.

    Args:
        top: what the page is about, if that changes while the page stays; another is shown from its top.
    """
    _component()(key="manners", data={"top": top, "left": LEFT_BY_ENTER}, height="content")


@st.cache_resource(show_spinner=False)
def _component():  # type: ignore[no-untyped-def]  # Streamlit names no public type
    return st.components.v2.component("dfc_manners", js=_JS, isolate_styles=False)
