// workers.js - processes that work on the store, and until when they are taken for alive.
import { Ago, Empty, Loading, Shape, html } from "../parts.js";
import { useAnswer } from "../server.js";
import { number } from "../format.js";

export function Workers() {
  const answer = useAnswer("workers");
  const items = answer.data?.items ?? [];
  const at = answer.data?.now ?? 0;
  return html`<div class="head"><h1>Workers</h1></div><${Loading} answer=${answer}>${items.length === 0 ? html`<${Empty}>No process works on this store: nothing is executed.</${Empty}>` : html`<table class="list workers">
    <thead><tr><th>State</th><th>Host and process</th><th>Serves</th><th class="num">Executing</th><th class="num">Since</th><th class="num">Lease</th><th>Version</th></tr></thead>
    <tbody>${items.map(worker => {
      const lost = worker.gone || (worker.lease_until && worker.lease_until < at);
      return html`<tr key=${worker.number}><td class="c-state"><span class=${"state s-" + (lost ? "aborted" : "done")}><${Shape} state=${lost ? "aborting" : "done"} />${lost ? "lost" : "alive"}</span></td>
        <td class="c-class"><bdi>${worker.host}</bdi><bdi class="id">${worker.pid}${worker.is_self ? ", this one" : ""}</bdi></td>
        <td class="c-note"><bdi>${worker.serving ? worker.serving.join(", ") || "executes nothing" : "all queues"}</bdi></td><td class="num">${number(worker.executing ?? 0)}</td>
        <td class="num"><${Ago} time=${worker.since} /></td><td class="num"><${Ago} time=${worker.lease_until} /></td><td><bdi>${worker.version ?? ""}</bdi></td></tr>`;
    })}</tbody></table>`}</${Loading}>`;
}
