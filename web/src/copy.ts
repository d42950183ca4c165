/* The only script of the pages that the server writes, and only of those with a command (src/protocols/web/web_pages.c): its copy
 * button, which is hidden until this runs. All words are in the page. embed.mjs takes it in as it is, without the application. */
for (const command of document.querySelectorAll(".command")) {
  const button = command.querySelector("button");
  const text = command.querySelector("code")?.textContent;
  const said = command.querySelector("[role=status]");
  if (!button || !text || !said) continue;
  button.hidden = false;
  button.addEventListener("click", () => {
    // As a promise even where there is no clipboard at all, as in a page without a secure context.
    Promise.resolve()
      .then(() => navigator.clipboard.writeText(text))
      .then(
        () => (said.textContent = button.dataset.copied ?? ""),
        () => (said.textContent = button.dataset.refused ?? ""),
      );
  });
}
