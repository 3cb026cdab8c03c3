/* Whatever is wider than its place says that it scrolls, and fades out on the side where more is. */
for (const box of document.querySelectorAll(".scroll")) {
  const look = () => {
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
    box.classList.toggle("more", left > 1);
    if (box.classList.contains("wide")) box.tabIndex = 0;
  };
  box.addEventListener("scroll", look);
  new ResizeObserver(look).observe(box);
}
