// figures.mjs - what the programs for other systems share.

/** The `p`th part of the numbers is not greater than what this returns. */
export function percentile(numbers, p) {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)]
}

// What node has from version 22 on, and the SDK of Restate calls.
Promise.withResolvers ??= () => {
  const found = {}
  found.promise = new Promise((resolve, reject) => Object.assign(found, { resolve, reject }))
  return found
}
