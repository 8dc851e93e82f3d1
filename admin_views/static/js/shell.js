// What every signed-in page loads. Each module does one thing and needs no call from here.
import "./csrf.js";
import "./toasts.js";
import "./menus.js";
import "./drawer.js";
import "./preferences.js";
import "./keys.js";
import "./dialogs.js";
import "./countdown.js";
import "./notifications.js";
import "./live.js";
