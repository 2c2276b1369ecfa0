// schedules.js - work that comes back by the clock: when it fires next, and what came of it.
import { Ago, Empty, Foreign, Loading, State, attempt, confirm, html } from "../parts.js";
import { post, useAnswer } from "../server.js";
import { number } from "../format.js";

async function trigger(schedule) {
  const given = await confirm({ title: `Fire ${schedule.name} now?`, text: "Its regular times stay as they are.", does: "Fire" });
  if (given) attempt(() => post("schedules/trigger", { name: schedule.name }), `${schedule.name}: fired`);
}

const turn = (schedule, on) => attempt(() => post(on ? "schedules/resume" : "schedules/pause", { name: schedule.name }), `${schedule.name}: ${on ? "goes on" : "paused"}`);

export function Schedules({ may }) {
  const answer = useAnswer("schedules");
  const items = answer.data?.items ?? [];
  return html`<div class="head"><h1>Schedules</h1></div><${Loading} answer=${answer}>${items.length === 0 ? html`<${Empty}>There are none. A program makes them with pipeline.schedules.</${Empty}>` : html`<table class="list schedules">
    <thead><tr><th>State</th><th>Schedule</th><th>Last</th><th class="num">Next</th><th class="num">Fired</th>${may && html`<th></th>`}</tr></thead>
    <tbody>${items.map(schedule => html`<tr key=${schedule.name}><td class="c-state"><${State} state=${schedule.state ?? "active"} /></td>
      <td class="c-class"><bdi>${schedule.name}</bdi>${schedule.source && html`<bdi class="id">${schedule.source}</bdi>`}</td>
      <td class="c-note">${schedule.last_fire_time && html`<span class=${schedule.last_result === "failed" ? "error" : "said"}>${schedule.running ? "running" : schedule.last_result ?? "started"} <${Ago} time=${schedule.last_fire_time} /></span> `}
      ${schedule.failures > 0 && html`<span class="error">${number(schedule.failures)} failures in a row </span>`}<${Foreign} class="said" title=${schedule.note}>${schedule.note ?? ""}</${Foreign}></td>
      <td class="num"><${Ago} time=${schedule.next_fire_time} /></td><td class="num">${number((schedule.fired ?? 0) + (schedule.triggered ?? 0))}</td>
      ${may && html`<td class="doing"><button type="button" onClick=${() => trigger(schedule)}>Fire now</button>
        ${schedule.state !== "finished" && html`<button type="button" onClick=${() => turn(schedule, schedule.state === "paused")}>${schedule.state === "paused" ? "Resume" : "Pause"}</button>`}</td>`}</tr>`)}</tbody></table>`}</${Loading}>`;
}
