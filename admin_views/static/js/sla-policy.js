// The editor of an SLA policy: its conditions as rows of field, operator and value.
import { buildConditions } from "./condition-builder.js";

const form = document.querySelector("[data-sla-form]");
if (form) buildConditions(form);
