// The steps of a record: the look-ups in their dialogs work.
import { enhanceAll } from "./lookup.js";

enhanceAll();
