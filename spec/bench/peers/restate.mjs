// restate.mjs - the programs of durable.lua written for Restate: `restate.mjs FOLDER`. Its server runs in FOLDER.
//
// Prints "name value" lines, as the parts of bench.lua do. Signals are awakeables, which a program outside completes.

import { spawn } from "node:child_process"
import { createServer } from "node:net"
import { createRequire } from "node:module"
import path from "node:path"
import * as restate from "@restatedev/restate-sdk"
import { percentile } from "./figures.mjs"

const ROW = 500, FLOWS = 500, STEPS = 10, SIGNALS = 200

const late = []
let waiting = () => {}

const bench = restate.service({
  name: "bench",
  handlers: {
    steps: async (ctx, count) => {
      for (let i = 0; i < count; i++) await ctx.run("s", () => {})
    },
    listen: async (ctx, count) => {
      for (let i = 0; i < count; i++) {
        const { id, promise } = ctx.awakeable()
        waiting(id)
        const sent = await promise
        late.push(performance.now() - sent)
      }
    },
  },
})

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

const [ingress, admin, node, service] = await Promise.all([freePort(), freePort(), freePort(), freePort()])

async function post(url, body) {
  const answer = await fetch(url, {
    method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" },
  })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  return answer.text()
}

async function until(what, seconds) {
  const end = performance.now() + seconds * 1000
  for (;;) {
    try {
      return await what()
    } catch (problem) {
      if (performance.now() > end) throw problem
      await new Promise(next => setTimeout(next, 100))
    }
  }
}

const binary = createRequire(import.meta.url).resolve("@restatedev/restate-server-linux-x64/package.json")
const server = spawn(path.join(path.dirname(binary), "bin", "restate-server"), ["--no-logo"], {
  stdio: ["ignore", "ignore", "inherit"],
  env: {
    ...process.env, RESTATE_BASE_DIR: process.argv[2], RESTATE_NODE_NAME: "bench", RESTATE_BIND_IP: "127.0.0.1",
    RESTATE_LISTEN_MODE: "tcp", RESTATE_BIND_PORT: String(node), RESTATE_INGRESS__BIND_PORT: String(ingress),
    RESTATE_ADMIN__BIND_PORT: String(admin), RESTATE_LOG_FILTER: "error", DO_NOT_TRACK: "1",
  },
})

try {
  await restate.serve({ services: [bench], port: service })
  await until(() => post(`http://127.0.0.1:${admin}/deployments`, { uri: `http://127.0.0.1:${service}` }), 30)
  const call = (handler, count) => post(`http://127.0.0.1:${ingress}/bench/${handler}`, count)
  await until(() => call("steps", 20), 30) // what is made at first is no part of it

  let start = performance.now()
  await call("steps", ROW)
  console.log("restate_row_us", (performance.now() - start) / ROW * 1000)

  start = performance.now()
  await Promise.all(Array.from({ length: FLOWS }, () => call("steps", STEPS)))
  console.log("restate_flows", FLOWS * STEPS / (performance.now() - start) * 1000)

  const ids = []
  waiting = id => ids.push(id)
  const heard = call("listen", SIGNALS)
  for (let i = 0; i < SIGNALS; i++) {
    while (ids.length <= i) await new Promise(next => setTimeout(next, 1))
    await new Promise(next => setTimeout(next, 20)) // until it waits
    await post(`http://127.0.0.1:${ingress}/restate/awakeables/${ids[i]}/resolve`, performance.now())
    while (late.length <= i) await new Promise(next => setTimeout(next, 1))
  }
  await heard
  console.log("restate_signal_p50_ms", percentile(late, 0.5))
  console.log("restate_signal_p99_ms", percentile(late, 0.99))
} finally {
  server.kill()
}
process.exit(0)
