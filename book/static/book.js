/* One switch for all folded code cells, remembered; what scrolls sideways can be reached by keyboard.
   Without JavaScript each cell opens by itself. */
(() => {
  "use strict";
  const KEY = "brainalign-code";
  const cells = () => document.querySelectorAll("details.hide.above-input");
  const remembered = () => { try { return localStorage.getItem(KEY) === "shown"; } catch { return false; } };

  document.addEventListener("DOMContentLoaded", () => {
    const place = document.querySelector(".page-tools");
    if (!place || !cells().length) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "code-switch";
    const show = (shown) => {
      cells().forEach((cell) => { cell.open = shown; });
      button.setAttribute("aria-pressed", String(shown));
      button.textContent = shown ? "Hide all code" : "Show all code";
    };
    button.onclick = () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      show(shown);
      try { localStorage.setItem(KEY, shown ? "shown" : "hidden"); } catch { /* private windows remember nothing */ }
    };
    show(remembered());
    place.append(button);
  });

  /* Tables, code and equations that scroll take the focus, so that arrow keys move them. */
  const reach = (box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  const sized = new ResizeObserver((entries) => entries.forEach((entry) => reach(entry.target)));
  window.addEventListener("load", () => document.querySelectorAll("article :is(table, pre, div.math, figure, .front-figure)").forEach((box) => {
    reach(box);
    sized.observe(box);
  }));
  // docutils calls the references a list, but not its entries list items
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".citation-list[role=list]").forEach((list) => list.removeAttribute("role")));
})();
