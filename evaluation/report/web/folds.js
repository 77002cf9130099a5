// Opens a folded section when a link leads to it, and all sections for printing.
"use strict";
{
  const openTarget = () => {
    const section = location.hash && document.getElementById(location.hash.slice(1));
    if (section?.tagName !== "DETAILS") return;
    section.open = true;
    section.querySelector("summary").focus();
  };
  addEventListener("hashchange", openTarget);
  for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => setTimeout(openTarget));
  openTarget();
  addEventListener("beforeprint", () => {
    for (const section of document.querySelectorAll("details:not([open])")) {
      section.open = true;
      section.dataset.printing = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const section of document.querySelectorAll("details[data-printing]")) {
      section.open = false;
      delete section.dataset.printing;
    }
  });
}
