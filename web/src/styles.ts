// What our Content-Security-Policy forbids as a <style> element goes into a constructed style sheet (see vite.config.ts).
declare global {
  // eslint-disable-next-line no-var
  var tportStyleElement: () => HTMLElement;
}

globalThis.tportStyleElement = () => {
  const sheet = new CSSStyleSheet();
  const stand = document.createElement("span");
  stand.hidden = true;
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(stand, "textContent", { set: (text: string) => sheet.replaceSync(text), get: () => "" });
  stand.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(stand);
  };
  return stand;
};

export {};
