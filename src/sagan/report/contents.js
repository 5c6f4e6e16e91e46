// The contents mark the section that is read; on narrow screens they are a menu.
const menu = document.querySelector("nav details");
const links = [...menu.querySelectorAll("a")];
const sections = links.map((link) => document.querySelector(link.hash));
const wide = matchMedia("(min-width: 70rem)");

const mark = () => {
  const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const above = sections.filter((section) => section.getBoundingClientRect().top < innerHeight / 3);
  const here = atEnd ? sections.at(-1) : above.at(-1);
  links.forEach((link, number) => {
    if (sections[number] === here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
};
const fold = () => { menu.open = wide.matches; };

wide.addEventListener("change", fold);
addEventListener("scroll", mark, { passive: true });
addEventListener("resize", mark);
menu.addEventListener("click", (event) => {
  if (event.target.closest("a") && !wide.matches) menu.open = false;
});
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || wide.matches) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
const themes = document.querySelector(".theme");
themes.hidden = false;
themes.addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
});
fold();
mark();
