// What every page does: local times, buttons that copy, parts that stay current. Pages work without it.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** How long ago something was, in the largest unit that fits. */
function ago(then) {
  const seconds = Math.round((then - Date.now()) / 1000);
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return relative.format(seconds, "second");
}

/** A time for a list: without the day, if that is today. */
function short(then) {
  const clock = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (then.toDateString() === new Date().toDateString()) return clock;
  return `${then.toLocaleDateString([], { month: "short", day: "numeric" })}, ${clock}`;
}

/** Says times as the reader's clock does; the exact one is in the title. */
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-keep])")) {
    const then = new Date(time.dateTime);
    if (Number.isNaN(then.getTime())) continue;
    time.textContent = "short" in time.dataset ? short(then) : `${then.toLocaleString()} (${ago(then.getTime())})`;
    time.title = time.dateTime;
  }
}

/** Gives what has `data-copy` a button. Browsers have no clipboard for pages that came over plain HTTP from elsewhere. */
function copyButtons(root) {
  if (!navigator.clipboard) return;
  for (const box of root.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button quiet";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(box.querySelector("code").innerText.trimEnd());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    box.append(button);
  }
}

/** Reads the page again every few seconds, and takes over the part that has `data-refresh`. */
function refresh(part) {
  let was = "";
  const read = async () => {
    // Nobody is interrupted who is at it by keys.
    if (document.hidden || part.contains(document.activeElement)) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" }).catch(() => null);
    if (!answer?.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = page.getElementById(part.id);
    if (!now || now.innerHTML === was) return;
    was = now.innerHTML;
    localTimes(now);
    part.replaceChildren(...now.childNodes);
  };
  setInterval(read, Number(part.dataset.refresh) * 1000);
  document.addEventListener("visibilitychange", read);
}

localTimes(document);
copyButtons(document);
for (const part of document.querySelectorAll("[data-refresh]")) refresh(part);
