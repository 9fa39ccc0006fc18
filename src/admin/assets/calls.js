// Lists of calls by keys, and deleting. The pages work without it, except for deleting.

const links = [...document.querySelectorAll(".row-link")];
const search = document.querySelector("input[name=text]");

/** Moves the focus from row to row. */
function move(by) {
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next]?.focus();
}

document.addEventListener("keydown", (event) => {
  const target = event.target;
  const isWriting = target.matches?.("input, select, textarea") || document.querySelector("dialog[open]");
  if (event.key === "Escape" && target === search) target.blur();
  if (isWriting || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/" && search) search.focus();
  else return;
  event.preventDefault();
});

const button = document.querySelector("[data-forget]");
if (button) {
  const dialog = button.nextElementSibling;
  const notice = dialog.querySelector(".notice");
  const sure = dialog.querySelector("[data-path]");
  button.hidden = false;
  button.addEventListener("click", () => {
    notice.hidden = true;
    dialog.showModal();
  });
  sure.addEventListener("click", async () => {
    sure.disabled = true;
    const answer = await fetch(sure.dataset.path, { method: "DELETE", headers: { accept: "application/json" } }).catch(() => null);
    if (answer?.ok) {
      location.assign(sure.dataset.then);
      return;
    }
    const said = await answer?.json().catch(() => null);
    notice.textContent = said?.error ?? "It could not be deleted: the listener does not answer.";
    notice.hidden = false;
    sure.disabled = false;
  });
}
