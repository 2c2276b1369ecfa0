// many.js - acts on many pipelines. What is acted on is what was counted: the ids are listed before somebody is asked,
// and nothing that comes later is among them. They are sent in portions, so that one sees how far it is and can stop;
// each pipeline is done wholly or not at all, whatever ends in between.
import { useRef, useState } from "../vendor/hooks.js";
import { confirm, html, note } from "../parts.js";
import { post } from "../server.js";
import { number, plural } from "../format.js";

const PORTION = 100;

const ACTS = {
  resume: ["Resume", "lets aborted trees go on from where they failed; finished stages stay done"],
  retry: ["Run again", "runs async pipelines that wait to be completed once more"],
  abort: ["Abort", "ends whatever is running, and aborts the whole tree of each"],
  cleanup: ["Delete", "deletes their records, with arguments, outputs and failures; there is no way back"],
};

// The ids on which it can be done: those of the list, or all that the filters find.
async function count(op, asked) {
  if (asked.ids) return { ids: asked.ids };
  const found = await post("act", { op, filters: asked.filters, dry_run: true, list: true });
  return { ids: found.ids, more: found.more, refused: found.refused };
}

const ask = (op, { ids, more, refused }) => {
  const [does, what] = ACTS[op];
  return confirm({
    title: `${does} ${plural(ids.length, "pipeline")}?`, does: `${does} ${number(ids.length)}`,
    text: [`This ${what}.`,
      more && "The filters find more: these are the newest of them. The others can be done afterwards.",
      refused?.length > 0 && `${plural(refused.length, "other")} cannot: ${refused[0].why}.`].filter(Boolean),
    danger: op === "abort" || op === "cleanup", fields: op === "abort" ? [{ name: "reason", label: "Reason" }] : [],
  });
};

// Sends the portions; `tell(done)` says how far it is, `stopped()` whether to end before the next.
async function send(op, ids, reason, tell, stopped) {
  const sum = { sent: 0, done: 0, refused: [], problem: null, stopped: false };
  while (sum.sent < ids.length) {
    if (stopped()) return { ...sum, stopped: true };
    const portion = ids.slice(sum.sent, sum.sent + PORTION);
    try {
      const result = await post("act", { op, ids: portion, reason });
      sum.done += result.done;
      sum.refused.push(...result.refused);
    } catch (error) {
      return { ...sum, problem: error };
    }
    sum.sent += portion.length;
    tell(sum.sent);
  }
  return sum;
}

function report(op, total, { done, refused, problem, stopped, sent }) {
  const [does] = ACTS[op];
  const head = `${does}: ${number(done)} of ${number(total)} done`;
  const rest = refused.length ? `; ${number(refused.length)} refused, the first: ${refused[0].why}` : "";
  if (problem) return note(`${head}${rest}. Then it ended: ${problem.message}. Of the ${plural(Math.min(PORTION, total - sent), "pipeline")} that were next each is done or as it was before, the others are as they were: do it again for the rest.`, "failed");
  if (stopped) return note(`${head}${rest}. It was stopped; the others are as they were.`, "failed");
  return note(head + rest, refused.length && !done ? "failed" : "done");
}

// `asked`: { ids } or { filters }; `shown`: how many they are said to be; `clear`: called when it is over.
export function ActsOnMany({ asked, shown, more, clear }) {
  const [run, set] = useState(null);
  const stop = useRef(false);
  const start = async op => {
    let counted;
    try { counted = await count(op, asked); } catch (error) { return note(error.message, "failed"); }
    const { ids, refused } = counted;
    if (!ids.length) return note(`${ACTS[op][0]}: nothing to do; ${refused?.[0]?.why ?? "the filters find nothing any more"}`, "failed");
    const given = await ask(op, counted);
    if (!given) return undefined;
    stop.current = false;
    const tell = sent => set({ op, sent, total: ids.length });
    tell(0);
    const sum = await send(op, ids, given.reason || undefined, tell, () => stop.current);
    set(null);
    report(op, ids.length, sum);
    clear();
    return undefined;
  };
  const label = "Actions on the selected pipelines";
  if (run) return html`<div class="acts" role="toolbar" aria-label=${label}><b role="status">${ACTS[run.op][0]}: ${number(run.sent)} of ${number(run.total)}</b>
    <progress max=${run.total} value=${run.sent} aria-label="how far it is"></progress><button type="button" onClick=${() => { stop.current = true; }}>Stop</button></div>`;
  if (!shown) return null;
  return html`<div class="acts" role="toolbar" aria-label=${label}><b>${number(shown)}${more ? "+" : ""} selected</b>
    ${Object.entries(ACTS).map(([op, [does]]) => html`<button type="button" class=${op === "abort" || op === "cleanup" ? "danger" : ""}
      onClick=${() => start(op)}>${does}</button>`)}
    <button type="button" class="quiet" onClick=${clear}>None</button></div>`;
}
