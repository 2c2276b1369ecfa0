// dbos.mjs - the programs of durable.lua written for DBOS Transact. DBOS_URL leads to a database of PostgreSQL.
//
// Prints "name value" lines, as the parts of bench.lua do.

import { DBOS } from "@dbos-inc/dbos-sdk"
import { percentile } from "./figures.mjs"

const ROW = 500, FLOWS = 500, STEPS = 10, SIGNALS = 200

const noop = async () => {}

async function steps(count) {
  for (let i = 0; i < count; i++) await DBOS.runStep(noop, { name: "s" })
}

const late = []

async function listen(count) {
  for (let i = 0; i < count; i++) {
    const sent = await DBOS.recv("x", 60)
    late.push(performance.now() - sent)
    await DBOS.setEvent("heard", i + 1)
  }
}

const stepsOf = DBOS.registerWorkflow(steps, { name: "steps" })
const listener = DBOS.registerWorkflow(listen, { name: "listen" })

DBOS.setConfig({ name: "bench", systemDatabaseUrl: process.env.DBOS_URL, logLevel: "error", runAdminServer: false })
await DBOS.launch()

await (await DBOS.startWorkflow(stepsOf)(20)).getResult() // what is made at first is no part of it

let start = performance.now()
await (await DBOS.startWorkflow(stepsOf)(ROW)).getResult()
console.log("dbos_row_us", (performance.now() - start) / ROW * 1000)

start = performance.now()
await Promise.all(Array.from({ length: FLOWS }, async () => (await DBOS.startWorkflow(stepsOf)(STEPS)).getResult()))
console.log("dbos_flows", FLOWS * STEPS / (performance.now() - start) * 1000)

const heard = await DBOS.startWorkflow(listener)(SIGNALS)
for (let i = 0; i < SIGNALS; i++) {
  await DBOS.send(heard.workflowID, performance.now(), "x")
  while (late.length <= i) await new Promise(next => setTimeout(next, 1))
}
await heard.getResult()
console.log("dbos_signal_p50_ms", percentile(late, 0.5))
console.log("dbos_signal_p99_ms", percentile(late, 0.99))

await DBOS.shutdown()
process.exit(0)
