// Issues: what looks alike while the title is typed, and the dialog that the board asks for.
const title = document.querySelector('input[name="title"]');
const found = document.querySelector("[data-similar]");
let asked = 0;
let waiting;

async function look() {
  const mine = ++asked;
  const answer = await fetch(`/issues/similar?title=${encodeURIComponent(title.value)}`, { credentials: "same-origin" });
  if (!answer.ok || mine !== asked) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  found.replaceChildren(...fresh.body.childNodes);
}

if (title && found)
  title.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => look().catch(() => {}), 350);
  });

// The board leads here for a step that asks something: its dialog is open at once.
const wanted = location.hash.startsWith("#step-") ? document.getElementById(location.hash.slice(1)) : null;
if (wanted instanceof HTMLDialogElement && !wanted.open) wanted.showModal();
