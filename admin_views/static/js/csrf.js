// Requests to our own server carry the CSRF token of the page, by fetch and by htmx alike.
export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

// A request that rejects on any status that is not 2xx; the error's message is what the server says to the user.
export async function send(url, { method = "GET", form = null, json = null, signal = undefined } = {}) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrfToken() };
  let body;
  if (form) body = new URLSearchParams(form);
  if (json) {
    body = JSON.stringify(json);
    headers["Content-Type"] = "application/json";
  }
  const response = await fetch(url, { method, headers, body, signal, credentials: "same-origin" });
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const data = isJson ? await response.json() : null;
  if (!response.ok) throw new Error(data?.detail || data?.title || `The server answered ${response.status}.`);
  return data;
}

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = csrfToken();
});
