// The steps of a record: a dialog whose step was refused is open again, its look-ups work, and its address is the record's.
import { enhanceAll } from "./lookup.js";

enhanceAll();

// A refused step is answered with the record at the address of the step; a reload must show the record.
const own = document.querySelector("[data-self]")?.dataset.self;
if (own && new URL(own, location.href).pathname !== location.pathname) history.replaceState(null, "", own);

const refused = document.querySelector("dialog[data-open]");
refused?.showModal();
(refused?.querySelector("[aria-invalid]") ?? refused?.querySelector("textarea"))?.focus();
