"use strict";
(() => {
  const rows = [...document.querySelectorAll("#calls tbody tr")];
  const buttons = [...document.querySelectorAll("[data-show]")];
  const name = document.getElementById("name");
  let wrongOnly = false;

  function filter() {
    const wanted = name.value.trim().toLowerCase();
    for (const row of rows) {
      const wrong = !row.classList.contains("passed");
      row.hidden = (wrongOnly && !wrong) || !row.dataset.name.toLowerCase().includes(wanted);
    }
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String((button.dataset.show === "wrong") === wrongOnly));
    }
  }
  for (const button of buttons) {
    button.addEventListener("click", () => { wrongOnly = button.dataset.show === "wrong"; filter(); });
  }
  name.addEventListener("input", filter);
  document.documentElement.dataset.ready = "true";
})();
