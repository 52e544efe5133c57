// What a loaded page looks like to its reader, as plain data.
async () => {
  // a view that was just resized slides its sidebars away; what is measured is where they come to rest
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  await frame();
  const moving = document.getAnimations().map((one) => one.finished.catch(() => {}));
  await Promise.race([Promise.all(moving), new Promise((resolve) => setTimeout(resolve, 2000))]);
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map((image) => image.decode().catch(() => {})));
  const shown = (node) => node.checkVisibility({ visibilityProperty: true });
  const name = (node) => node.outerHTML.slice(0, 120);

  // An element that sticks out is fine inside a box that scrolls, or one that cuts it off on purpose.
  const scrolls = (node) => {
    for (let box = node; box && box !== document.body; box = box.parentElement) {
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(box).overflowX)) return true;
    }
    return false;
  };
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("main *")].filter(
    (node) => shown(node) && node.getBoundingClientRect().right > width + 1 && !scrolls(node),
  );

  return {
    title: document.title,
    language: document.documentElement.lang,
    theme: document.documentElement.dataset.theme ?? "",
    links: [...document.querySelectorAll("a[href]")].map((a) => a.href),
    ids: [...document.querySelectorAll("[id]")].map((node) => node.id),
    images: images.map((image) => ({
      what: name(image),
      alt: image.getAttribute("alt"),
      inFigure: !!image.closest("figure"),
      hasCaption: !!image.closest("figure")?.querySelector("figcaption"),
      loaded: image.complete && image.naturalWidth > 0,
      shown: shown(image),
      width: image.naturalWidth,
      height: image.naturalHeight,
    })),
    headings: [...(document.querySelector("article") ?? document).querySelectorAll("h1,h2,h3,h4,h5,h6")]
      .filter(shown)
      .map((h) => [Number(h.tagName[1]), h.textContent.trim()]),
    text: document.querySelector("article")?.innerText ?? "",
    bytes: ["navigation", "resource"]
      .flatMap((kind) => performance.getEntriesByType(kind))
      .reduce((sum, entry) => sum + entry.decodedBodySize, 0),
    overflow: document.documentElement.scrollWidth - width,
    wide: wide.map(name),
  };
}
