// events.js - what has happened in the last hour, newest first.
import { At, ClassName, Empty, Foreign, Loading, Shape, html, href } from "../parts.js";
import { useAnswer } from "../server.js";

export function Events() {
  const answer = useAnswer("events");
  const items = answer.data?.items ?? [];
  return html`<div class="head"><h1>Events of the last hour</h1></div>${answer.data?.more && html`<p class="said">Those of the pipelines that were started last.</p>`}<${Loading} answer=${answer}>${items.length === 0 ? html`<${Empty}>Nothing has begun or ended in the last hour.</${Empty}>` : html`<table class="list events">
    <thead><tr><th>Time</th><th>Event</th><th>Pipeline</th><th>Details</th></tr></thead><tbody>${items.map((event, i) => html`<tr key=${event.time + "/" + (event.id ?? i)}><td class="num c-time"><${At} time=${event.time} /></td>
      <td class="c-state"><span class=${"state s-" + event.state}><${Shape} state=${event.state} />${event.event}</span></td>
      <td class="c-class">${event.id ? html`<a class="rowlink" href=${href("pipeline", { id: event.root ?? event.id, stage: event.root && event.root !== event.id ? event.id : "" })}><${ClassName} name=${event.class} /></a>` : html`<bdi>${event.of ?? ""}</bdi>`}</td>
      <td class="c-note"><${Foreign} class=${event.state === "aborted" || event.state === "delayed" ? "error" : "said"} title=${event.text}>${event.text ?? ""}</${Foreign}></td></tr>`)}</tbody></table>`}</${Loading}>`;
}
