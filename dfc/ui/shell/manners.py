"""What a browser is told beside what it shows: which changes of the address are one step, whom keys are for, and that
nothing typed is lost.

Streamlit pushes an entry into the browser's history for every parameter that a script sets, and two where it changes
the page; on a step back, an address half changed would be shown. Its keys of buttons are heard wherever the focus is.
What is typed into a box is sent when the box is left, which a box that vanishes is not: by a step back, or with the
popover around it by Escape. A tab that is closed says so before. Where keys are what a page is for, Enter leaves a box.
Of clicks that come while a script runs Streamlit keeps one, and takes it for one of what stood there before: steps to
the next that are asked for meanwhile wait until their page is drawn, and keys that decide are not heard until then.
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
    const waiting = [];  // steps that were asked for while the page is drawn for the one before
    let drawing = false;
    const await_page = (since, seen) => {  // a script that goes to another address runs again at once
      const now = performance.now();
      if (runs()) { setTimeout(await_page, 20, now, true); return; }
      if (now - since < (seen ? 150 : 3000)) { setTimeout(await_page, 20, since, seen); return; }
      drawing = false;
      const step = waiting.shift();
      if (step) document.querySelector(`.st-key-${step} button:enabled`)?.click();
    };
    const begin = () => { drawing = true; await_page(performance.now(), false); };
    window.addEventListener("click", (event) => {
      const step = ["next", "previous"].find((name) => event.target.closest(`.st-key-${name} button:enabled`));
      if (!step) return;
      if (!drawing) { begin(); return; }
      event.stopImmediatePropagation();
      if (waiting.length < 20) waiting.push(step);
    }, { capture: true });
    window.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
      const decides = event.key.length === 1 && document.querySelector(".st-key-deciding");
      const held = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
      if (held || !(step || decides) || event.target.closest(`input, textarea, ${moves}`)) return;
      if (!drawing) {
        if (decides || document.querySelector(`.st-key-${step} button:enabled`)) begin();
        return;
      }
      event.stopImmediatePropagation();  // what decides is of what one sees
      if (step && !event.repeat && waiting.length < 20) waiting.push(step);
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
